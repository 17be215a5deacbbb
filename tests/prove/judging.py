"""What a row must show, judged from the receiving server's record; pure.

How much of the limit is to be used, and what is taken out of it, is explained in docs/proof.md.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from math import floor
from typing import TYPE_CHECKING, NamedTuple

from worker.demo.figures import worst_window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.prove.matrix import Row

WINDOW_SECONDS = 60.0
QUICK_REPLY_SECONDS = 0.5
USED_WITH_QUICK_REPLIES = 0.99
USED_WHILE_KILLED = 0.95
MARGIN = 0.01
LOW = 3
"""The lower limit of a row that has two is this part of the higher one."""


@dataclass(slots=True)
class Course:
    """When a row's mail was counted, and what happened to it meanwhile (``time.monotonic``)."""

    since: float
    until: float
    times: int = 0
    out: list[tuple[float, float]] = field(default_factory=list)

    def take_out(self, since: float, until: float) -> None:
        """Note a stretch in which nothing could, or needed to, leave."""
        self.out.append((since, until))

    def seconds_possible(self, since: float, until: float) -> float:
        """How many seconds between two moments count."""
        lost = (max(0.0, min(until, end) - max(since, start)) for start, end in self.out)
        return until - since - sum(lost)

    def counts(self, at: float) -> bool:
        """Whether a mail of this moment counts as use."""
        return not any(start <= at < end for start, end in self.out)


class Seen(NamedTuple):
    """What the receiving server saw, and what the ledger says at the end."""

    times: list[float]
    message_ids: list[str]
    unknown_ids: frozenset[str]
    published: int
    open_jobs: int
    mean_reply_seconds: float
    longest_reply_seconds: float


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a row; ``failures`` are sentences, none where it held."""

    worst: int
    used: float
    needed: float
    lost: int
    doubled: int
    unknown: int
    times: int
    mean_reply_seconds: float
    failures: tuple[str, ...]


def needed_share(row: Row, seen: Seen) -> float:
    """The share of the limit that must be used while mail waits (design 13)."""
    if row.disturbance == "kill":
        return USED_WHILE_KILLED
    share = WINDOW_SECONDS / (WINDOW_SECONDS + seen.mean_reply_seconds) - MARGIN
    if row.disturbance == "none" and seen.longest_reply_seconds <= QUICK_REPLY_SECONDS:
        share = USED_WITH_QUICK_REPLIES
    return share / LOW if row.disturbance == "two-views" else share


def use_of(limit: int, times: Sequence[float], course: Course) -> tuple[int, float]:
    """How many mails count as use from the second minute on, and how many were possible.

    Mail that has run out cannot leave: it is counted up to the last one.
    """
    since = course.since + WINDOW_SECONDS
    until = min(course.until, max(times, default=0.0))
    counted = sum(since <= at < until and course.counts(at) for at in times)
    return counted, limit * max(0.0, course.seconds_possible(since, until)) / WINDOW_SECONDS


def judge(row: Row, seen: Seen, course: Course) -> Result:
    """Judge a row: the bound over all of it, the use from the second minute on."""
    counted, possible = use_of(row.limit, seen.times, course)
    used = counted / possible if possible else 0.0
    needed = needed_share(row, seen)
    copies = Counter(seen.message_ids)
    doubled = {message_id for message_id, count in copies.items() if count > 1}
    worst = worst_window(seen.times, WINDOW_SECONDS)
    lost = seen.published - len(copies)
    failures = []
    if worst > row.limit:
        failures.append(f"{worst} mails in 60 s, the limit is {row.limit}")
    if not possible or counted < floor(needed * possible):
        failures.append(f"{used:.2%} of the limit used, {needed:.2%} is needed")
    if lost:
        failures.append(f"{lost} mails never arrived")
    if doubled - seen.unknown_ids:
        failures.append(f"{len(doubled - seen.unknown_ids)} doubled without being called unknown")
    if seen.open_jobs:
        failures.append(f"{seen.open_jobs} jobs are not final")
    if row.disturbance != "none" and not course.times:
        failures.append("nothing was disturbed")
    return Result(
        worst=worst,
        used=used,
        needed=needed,
        lost=lost,
        doubled=len(doubled),
        unknown=len(seen.unknown_ids),
        times=course.times,
        mean_reply_seconds=seen.mean_reply_seconds,
        failures=tuple(failures),
    )


__all__ = ["Course", "Result", "Seen", "judge", "needed_share", "use_of"]
