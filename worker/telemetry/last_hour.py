"""How many emails were accepted in each minute of the last hour, by scope.

Counting goes on from what the windows count (``acceptances``); the hour before counting began is
added up by the ledger, a minute at a time and backwards, so that no look takes long.
"""

from __future__ import annotations

import time
from array import array
from functools import partial
from math import ceil, floor
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from worker.ledger import figures
from worker.telemetry.board import HOUR_MINUTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sqlalchemy import Connection

    from worker.ledger.clock import Now
    from worker.ledger.engine import Operation

    T = TypeVar("T")

STEPS: Final = 60
"""Into how many steps a minute is cut: minutes end at the step that runs now, not at a full one."""
FILL_SECONDS: Final = 0.2
"""How long one look may go back into the past, but for one minute's worth, which is always read."""
_KEPT: Final = HOUR_MINUTES * STEPS


class Reader(Protocol):
    """The ledger, as far as it is needed here."""

    def read(self, operation: Operation[T]) -> T:
        """Run a query."""


class LastHour:
    """Keeps count; ``fill`` is called at each look until it has reached an hour back.

    Args:
        minute_seconds: a minute, but in tests.
    """

    def __init__(self, minute_seconds: float) -> None:
        self._minute_seconds = minute_seconds
        self._step_seconds = minute_seconds / STEPS
        self._counts: dict[str, _Steps] = {}
        self._known_from = 0.0
        self._fill_until = 0.0

    def start(self, since_steady: float) -> None:
        """Say from when on every acceptance will be added; ``fill`` goes back from there."""
        self._known_from = since_steady
        self._fill_until = since_steady - HOUR_MINUTES * self._minute_seconds

    def add(self, scope: str, steady: float, emails: int = 1) -> None:
        """Count some that were accepted (seconds on a clock that never steps)."""
        if scope not in self._counts:
            self._counts[scope] = _Steps()
        self._counts[scope].add(floor(steady / self._step_seconds), emails)

    def minutes(self, now_steady: float) -> dict[str, tuple[int, ...]]:
        """By scope, what each minute up to now held, the oldest first, as far back as is known.

        A scope of which nothing was accepted in an hour is not in it, and is forgotten.
        """
        last = floor(now_steady / self._step_seconds)
        for scope in [scope for scope, steps in self._counts.items() if steps.are_over(last)]:
            del self._counts[scope]
        shown = self.known_minutes(now_steady)
        return {scope: steps.by_minute(last)[-shown:] for scope, steps in self._counts.items()}

    def known_minutes(self, now_steady: float) -> int:
        """Of how many minutes up to now everything is known; one at least, an hour's at most."""
        known = floor((now_steady - self._known_from) / self._minute_seconds + 1 / STEPS)
        return min(HOUR_MINUTES, max(1, known))

    def fill(
        self,
        ledger: Reader,
        scopes: Callable[[str, str, str], Iterable[str]],
        seconds: float = FILL_SECONDS,
    ) -> None:
        """Go back minute by minute for a while, until an hour is known."""
        ends_at = time.monotonic() + seconds
        while self._known_from > self._fill_until:
            until = self._known_from
            since = (ceil(until / self._minute_seconds) - 1) * self._minute_seconds
            step_seconds = self._step_seconds
            read = partial(_by_step, since=since, until=until, step_seconds=step_seconds)
            for company, user, kind, step, emails in ledger.read(read):
                for scope in scopes(company, user, kind):
                    self.add(scope, since + (step + 0.5) * step_seconds, emails)
            self._known_from = since
            if time.monotonic() >= ends_at:
                return


def _by_step(
    connection: Connection, _now: Now, *, since: float, until: float, step_seconds: float
) -> list[figures.Step]:
    return figures.accepted_by_step(connection, since, until, step_seconds)


class _Steps:
    """The counts of an hour's steps, in a ring."""

    __slots__ = ("_counts", "_last", "_newest")

    def __init__(self) -> None:
        self._counts = array("L", bytes(_KEPT * array("L").itemsize))
        self._last = self._newest = -1

    def add(self, step: int, emails: int) -> None:
        """Count; what is older than an hour is left out."""
        self._go_on_to(step)
        self._newest = max(self._newest, step)
        if step > self._last - _KEPT:
            self._counts[step % _KEPT] += emails

    def are_over(self, now: int) -> bool:
        """Whether the last one is more than an hour ago."""
        return now - self._newest >= _KEPT

    def by_minute(self, now: int) -> tuple[int, ...]:
        """What each minute held, the last of them up to this step."""
        self._go_on_to(now)
        first = (self._last + 1) % _KEPT
        steps = self._counts[first:] + self._counts[:first]
        return tuple(sum(steps[at : at + STEPS]) for at in range(0, _KEPT, STEPS))

    def _go_on_to(self, step: int) -> None:
        if step <= self._last:
            return
        for gone in range(max(self._last + 1, step - _KEPT + 1), step + 1):
            self._counts[gone % _KEPT] = 0
        self._last = step
