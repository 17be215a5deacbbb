"""What the receiving server saw, as figures; pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from worker.demo.sink import Arrival

WINDOW_SECONDS = 60.0


def worst_window(times: Iterable[float], window_seconds: float = WINDOW_SECONDS) -> int:
    """The most acceptances in any window [t, t + window)."""
    ordered = sorted(times)
    worst = first = 0
    for last, at in enumerate(ordered):
        while at - ordered[first] >= window_seconds:
            first += 1
        worst = max(worst, last - first + 1)
    return worst


def last_window(times: Iterable[float], now: float, window_seconds: float = WINDOW_SECONDS) -> int:
    """How many were accepted in the window that ends now."""
    return sum(now - window_seconds < at <= now for at in times)


def used_share(
    times: Sequence[float],
    limit: int,
    *,
    now: float = inf,
    window_seconds: float = WINDOW_SECONDS,
) -> float:
    """How much of the limit the first window used, counted from the first acceptance.

    While a backlog lasts every window could be full, so 1.0 is the most. Before the window is over
    it is measured against what could have been sent until ``now``.
    """
    if not times:
        return 0.0
    first = min(times)
    part = min(1.0, (now - first) / window_seconds)
    possible = max(1.0, limit * part)
    return min(1.0, sum(at < first + window_seconds for at in times) / possible)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the demo has shown what it promised; ``failures`` are sentences."""

    failures: tuple[str, ...]
    doubled: int
    unknown: int

    @property
    def held(self) -> bool:
        """Whether nothing failed."""
        return not self.failures


@dataclass(frozen=True, slots=True)
class Expectation:
    """One company's share of the demo."""

    company: str
    limit: int
    mails: int
    singles: int


def judge(
    expected: Sequence[Expectation],
    arrivals: Sequence[Arrival],
    unknown_ids: frozenset[str],
    *,
    used_at_least: float,
    cut_short: bool = False,
) -> Verdict:
    """Judge what arrived.

    Args:
        unknown_ids: the Message-IDs of mails that the ledger called unknown at some time.
        cut_short: the demo was shorter than a window, so that its use can't be judged.
    """
    failures = []
    for one in expected:
        batch = [a.at for a in arrivals if is_batch(a) and company_of(a) == one.company]
        worst = worst_window(batch)
        if worst > one.limit:
            failures.append(f"{one.company}: {worst} mails in 60 s, the limit is {one.limit}")
        share = used_share(batch, one.limit)
        if share < used_at_least and not cut_short:
            failures.append(f"{one.company}: only {share:.1%} of the limit was used")
        for name, kind, wanted in (("batch", True, one.mails), ("single", False, one.singles)):
            came = len(
                {
                    a.message_id
                    for a in arrivals
                    if company_of(a) == one.company and is_batch(a) is kind
                }
            )
            if came < wanted:
                failures.append(f"{one.company}: {came} of {wanted} {name} mails arrived")
    copies = Counter(a.message_id for a in arrivals)
    doubled = {message_id for message_id, count in copies.items() if count > 1}
    failures.extend(
        f"{message_id} arrived twice, and the ledger does not call it unknown"
        for message_id in sorted(doubled - unknown_ids)
    )
    return Verdict(tuple(failures), len(doubled), len(unknown_ids))


def company_of(arrival: Arrival) -> str:
    """The company that sent a mail: ``robot@acme.example`` is acme's."""
    return arrival.sender.rpartition("@")[2].partition(".")[0]


def is_batch(arrival: Arrival) -> bool:
    """Whether a mail is of a batch: those go to customers, single sends to others."""
    return arrival.recipient.startswith("customer")
