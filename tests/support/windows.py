"""Judge what a server accepted against the limits, from the server's own list alone."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from worker.pace import WINDOW_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.support.model import Acceptance


class Window(NamedTuple):
    """The minute from ``since`` on: how many mails, and the largest limit any was taken under."""

    since: float
    mails: int
    limit: int


def windows(
    accepted: Sequence[Acceptance], scope: str, window_seconds: float = WINDOW_SECONDS
) -> Iterator[Window]:
    """Look at every [t, t + 60 s) that begins with a mail: no other can hold more."""
    mails = sorted(
        (mail.at, limit.limit) for mail in accepted for limit in mail.limits if limit.scope == scope
    )
    end = 0
    for first, (since, _) in enumerate(mails):
        while end < len(mails) and mails[end][0] < since + window_seconds:
            end += 1
        yield Window(since, end - first, max(limit for _, limit in mails[first:end]))


def worst_window(accepted: Sequence[Acceptance], scope: str) -> int:
    """The most mails of a scope in any 60 s."""
    return max((window.mails for window in windows(accepted, scope)), default=0)


def broken_windows(accepted: Sequence[Acceptance], scope: str) -> list[Window]:
    """The windows that hold more than the largest limit in force in them."""
    return [window for window in windows(accepted, scope) if window.mails > window.limit]


def count_between(accepted: Sequence[Acceptance], since: float, until: float) -> int:
    """How many mails were accepted in [since, until)."""
    return sum(since <= mail.at < until for mail in accepted)


def used_share(accepted: Sequence[Acceptance], limit: int, *, since: float, until: float) -> float:
    """The share of the limit that was used between two seconds."""
    return count_between(accepted, since, until) / (limit * (until - since) / WINDOW_SECONDS)


def bucket_counts(
    accepted: Sequence[Acceptance], *, since: float, until: float, seconds: float
) -> list[int]:
    """How many mails each stretch of so many seconds got, empty ones too."""
    found = Counter(int((mail.at - since) // seconds) for mail in accepted if mail.at >= since)
    return [found[number] for number in range(int((until - since) // seconds))]
