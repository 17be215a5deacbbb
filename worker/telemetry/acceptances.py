"""Counts what servers accepted, in windows by scope, from the ledger's record of attempts.

Where several processes write, commits do not come in the order of their stamps: what was accepted
before may come to be known after. So the last seconds are counted again at each look, and read
again where the count says that one is missing.
"""

from __future__ import annotations

from collections import deque
from functools import cache, partial
from typing import TYPE_CHECKING, Final

from worker.ledger import figures
from worker.telemetry.last_hour import LastHour
from worker.telemetry.window import LATE_SECONDS, SlidingWindow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sqlalchemy import Connection

    from worker.ledger.clock import Now
    from worker.ledger.figures import Stamp
    from worker.telemetry.last_hour import Reader

HISTORY_SECONDS: Final = 86_400.0
"""How far back the worst window is looked for, but where it is said otherwise."""
HISTORY_STEP: Final = 10_000
"""How many acceptances of the past one look reads, so that none takes long."""


class Acceptances:
    """Keeps count; ``look`` is called every second.

    Args:
        window_seconds: how long a slot rests; a minute but in tests.
        history_seconds: how far back the worst window is looked for when counting starts.

    Attributes:
        hour: the same acceptances by the minute.
    """

    def __init__(self, window_seconds: float, history_seconds: float = HISTORY_SECONDS) -> None:
        self._window_seconds = window_seconds
        self._windows: dict[str, SlidingWindow] = {}
        self._past: dict[str, SlidingWindow] = {}
        self._last: Stamp | None = None
        self._recent: deque[Stamp] = deque()
        self._history: Stamp | None = None
        self._history_until_steady = 0.0
        self._history_seconds = history_seconds
        self.hour = LastHour(window_seconds)

    def windows(self, scopes: Iterable[str], now_steady: float) -> dict[str, tuple[int, int]]:
        """By scope, how many emails the window holds now, and at the worst; of these at least."""
        for scope in (*scopes, *self._past):
            self._window(scope)
        return {
            scope: (window.count(now_steady), max(window.worst, self._worst_in_past(scope)))
            for scope, window in self._windows.items()
        }

    def look(self, ledger: Reader, scopes_of: Callable[[str, str, str], Iterable[str]]) -> None:
        """Count what was accepted since the last look; at the first look, one window back.

        Args:
            scopes_of: the scopes that an email of a company, a user and a kind counts for.
        """
        scopes = cache(scopes_of)
        if self._last is None:
            self._start(ledger)
        assert self._last is not None
        fresh = ledger.read(partial(_after, after=self._last))
        late = self._late(ledger, fresh)
        for stamp in (*fresh, *late):
            for scope in scopes(stamp.company, stamp.user, stamp.kind):
                self._window(scope).add(stamp.steady)
                self.hour.add(scope, stamp.steady)
        self.hour.fill(ledger, scopes)
        self._look_back(ledger, scopes)

    def _start(self, ledger: Reader) -> None:
        now = ledger.read(lambda _, now: now).steady
        self._last = figures.start_of(now - self._window_seconds)
        self._history = figures.start_of(now - self._history_seconds)
        self._history_until_steady = now
        self.hour.start(now - self._window_seconds)

    def _late(self, ledger: Reader, fresh: list[Stamp]) -> list[Stamp]:
        """What was accepted in the last seconds, and has come to be known since the last look."""
        assert self._last is not None
        self._last = fresh[-1] if fresh else self._last
        until = self._last.steady
        self._recent.extend(fresh)
        while self._recent and self._recent[0].steady <= until - LATE_SECONDS:
            self._recent.popleft()
        since = max(until - LATE_SECONDS, self._history_until_steady - self._window_seconds)
        known = {(stamp.job_id, stamp.n) for stamp in self._recent}
        if ledger.read(lambda c, _: figures.count_accepted(c, since, until)) == len(known):
            return []
        again = ledger.read(partial(_after, after=figures.start_of(since), until=until))
        late = [stamp for stamp in again if (stamp.job_id, stamp.n) not in known]
        self._recent = deque(sorted((*self._recent, *late)))
        return late

    def _look_back(self, ledger: Reader, scopes: Callable[[str, str, str], Iterable[str]]) -> None:
        """Go on through the day before counting began, some thousand acceptances at a time."""
        if self._history is None:
            return
        step = ledger.read(
            partial(
                _after, after=self._history, until=self._history_until_steady, most=HISTORY_STEP
            )
        )
        for stamp in step:
            for scope in scopes(stamp.company, stamp.user, stamp.kind):
                self._past.setdefault(scope, SlidingWindow(self._window_seconds)).add(stamp.steady)
        self._history = step[-1] if len(step) == HISTORY_STEP else None

    def _worst_in_past(self, scope: str) -> int:
        return self._past[scope].worst if scope in self._past else 0

    def _window(self, scope: str) -> SlidingWindow:
        return self._windows.setdefault(scope, SlidingWindow(self._window_seconds))


def _after(
    connection: Connection,
    _now: Now,
    *,
    after: Stamp,
    until: float = figures.EVER,
    most: int = 10**9,
) -> list[Stamp]:
    return figures.accepted_after(connection, after, until_steady=until, most=most)
