"""How fast a limit lets mail through as time goes on: a model of its slots, pure.

For forecasts only; what holds the pace is ``ledger/slots.py``.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum
from math import inf
from typing import TYPE_CHECKING, Final

from worker.binding import Use
from worker.pace import CEILING, MINUTES

if TYPE_CHECKING:
    from worker.pace import Limit

FAST_PER_SECOND: Final = 10_000.0
"""Stands for no limit: as fast as workers and servers go."""
LONG_WINDOWS: Final = 50
"""After so many windows it no longer matters when in its window a slot comes free."""
PIECES: Final = 100
"""Into how many pieces a window is cut, to remember when its slots come free again."""
_TINY: Final = 1e-9


class Level(Enum):
    """Who shares a scope: one mailbox, one context, or every batch."""

    MAILBOX = 1
    CONTEXT = 2
    SHARED = 3


def level_of(scope: str) -> Level:
    """Who shares a scope, told from its name."""
    for per in MINUTES:
        scope = scope.removesuffix(f":{per}")
    if scope == CEILING:
        return Level.SHARED
    return Level.MAILBOX if scope.startswith("mailbox:") else Level.CONTEXT


@dataclass(frozen=True, slots=True)
class Opening:
    """How a limit stands now.

    Attributes:
        wait_seconds: until it lets the next mail begin.
        free: slots that nobody uses, and ``releases`` when how many others come free, in seconds
            from now; matter only where mail does not leave evenly.
        reply_seconds: how long servers take to reply, as a slot's rest begins with the reply.
    """

    limit: Limit
    wait_seconds: float = 0.0
    free: int | None = None
    releases: tuple[tuple[float, int], ...] = ()
    reply_seconds: float = 0.0

    @property
    def scope(self) -> str:
        """The scope of the limit."""
        return self.limit.scope

    @property
    def use(self) -> Use:
        """How far it is used up now."""
        number = self.limit.limit
        free = number if self.free is None else self.free
        wait_seconds = self.wait_seconds
        if free == 0 and self.releases:
            wait_seconds = max(wait_seconds, min(seconds for seconds, _ in self.releases))
        return Use(number - free, wait_seconds)

    @property
    def cycle_seconds(self) -> float:
        """From one use of a slot to its next."""
        return max(
            self.limit.window_seconds + self.reply_seconds,
            self.limit.gap_seconds * self.limit.limit,
        )

    @property
    def per_second(self) -> float:
        """What it lets through in the long run."""
        return self.limit.limit / self.cycle_seconds


class Gate:
    """One limit, as time goes on and mail flows through.

    Where mail leaves evenly it is a flow; else a stock of slots, each back a window after its use.
    """

    def __init__(self, opening: Opening) -> None:
        limit = opening.limit
        self._per_second = opening.per_second
        self._opens_at = opening.wait_seconds
        self._cycle_seconds = opening.cycle_seconds
        self._flows_from = 0.0 if limit.even else LONG_WINDOWS * limit.window_seconds
        self._free = float(limit.limit if opening.free is None else opening.free)
        self._coming: deque[tuple[float, float]] = deque(sorted(opening.releases))

    def speed(self, at: float) -> float:
        """How much it lets through now, in emails per second."""
        if at + _TINY < self._opens_at:
            return 0.0
        if at >= self._flows_from:
            return self._per_second
        return FAST_PER_SECOND if self._free > _TINY else 0.0

    def steady_for(self, at: float, used: float) -> float:
        """For how many seconds its speed stays as it is, if so much is used per second."""
        if at + _TINY < self._opens_at:
            return self._opens_at - at
        if at >= self._flows_from:
            return inf
        if self._free > _TINY:
            return self._free / used if used else inf
        return min(self._coming[0][0] if self._coming else inf, self._flows_from) - at

    def use(self, at: float, seconds: float, used: float) -> None:
        """Let so much per second through for a while, and let time pass."""
        end = at + seconds
        if self._flows_from and at < self._flows_from:
            self._free -= used * seconds
            if used:
                self._remember(at, seconds, used)
            while self._coming and self._coming[0][0] <= end + _TINY:
                self._free += self._coming.popleft()[1]

    def _remember(self, at: float, seconds: float, used: float) -> None:
        """Slots in use come free again a cycle later, piece by piece."""
        pieces = min(PIECES, int(seconds / self._cycle_seconds * PIECES) + 1)
        for n in range(1, pieces + 1):
            back_at = at + seconds * n / pieces + self._cycle_seconds
            self._coming.append((back_at, used * seconds / pieces))
