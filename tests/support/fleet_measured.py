"""What the receiving server saw of a fleet's mail, as figures."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.demo.figures import worst_window

if TYPE_CHECKING:
    from tests.support.fleet import Company, Fleet


@dataclass(frozen=True, slots=True)
class Measured:
    """What the receiving server saw of one company's batch."""

    accepted: int
    different: int
    worst: int
    used: float
    doubled: int
    doubled_not_unknown: int
    unknown: int
    mean_reply_seconds: float


def measure(
    fleet: Fleet, company: Company, *, settle_seconds: float, until: float | None = None
) -> Measured:
    """Count what the sink recorded of one company.

    Args:
        settle_seconds: how long after the first acceptance the use of the limit is counted from.
        until: ``time.monotonic`` up to which it is counted; else up to the last acceptance.
    """
    own = fleet.arrivals()
    times = [a.at for a in own]
    assert company.limit is not None
    start = min(times) + settle_seconds
    end = max(times) if until is None else until
    counted = sum(start <= at < end for at in times)
    possible = company.limit * (end - start) / fleet.window_seconds
    copies = Counter(a.message_id for a in own)
    doubled = {message_id for message_id, n in copies.items() if n > 1}
    unknown = fleet.unknown_ids()
    return Measured(
        accepted=len(own),
        different=len(copies),
        worst=worst_window(times, fleet.window_seconds),
        used=counted / possible if possible else 0.0,
        doubled=len(doubled),
        doubled_not_unknown=len(doubled - unknown),
        unknown=len(unknown),
        mean_reply_seconds=0.99 * fleet.delay_seconds / 2 + 0.01 * fleet.slow_seconds,
    )
