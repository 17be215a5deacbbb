"""What becomes of a waiting line that no settings serve: it is told why, and ends some day."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, NamedTuple

from config.errors import UnknownCompany, UnknownUser
from worker.ledger import housekeeping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sqlalchemy import Connection

    from config.errors import ConfigError
    from worker.ledger.clock import Now
    from worker.ledger.engine import Operation
    from worker.ledger.lanes import Lane
    from worker.ledger.ledger import Ledger

WAIT_FOR_SETTINGS_SECONDS = 15 * 60.0
"""Settings follow the application in every real roll-out, so an unknown company waits this long."""
EXPLAIN_AGAIN_SECONDS = 2.0
FROM_THE_HEAD_SECONDS = 60.0
"""How often a whole line is gone through again: for what came in before the place reached."""
STEPS_AT_ONCE = 8
"""The pump's thread calls this: it must soon go on with the lines that can be served."""


class _Told(NamedTuple):
    """What a lane was told, when to look again, since when it is through, how far it came."""

    reason: str
    again_at: float
    through_at: float
    place: housekeeping.Place


class Explainer:
    """Writes on waiting jobs why they wait, and ends the wait for settings that never came."""

    def __init__(
        self,
        ledger: Ledger,
        tell_of: Callable[[Iterable[str]], None],
        *,
        wait_seconds: float = WAIT_FOR_SETTINGS_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._tell_of = tell_of
        self._wait_seconds = wait_seconds
        self._clock = clock
        self._told: dict[Lane, _Told] = {}
        self._forget_at = 0.0

    def __call__(self, lane: Lane, reason: str, error: ConfigError | None) -> None:
        """Explain a lane that can't be served; cheap when the same was said of it just now.

        Raises:
            LedgerUnavailable: the ledger is away.
        """
        now = self._clock()
        told = self._told.get(lane)
        if told is not None and told.reason == reason and told.again_at > now:
            return
        self._forget(now)
        if told is None or told.reason != reason or now - told.through_at > FROM_THE_HEAD_SECONDS:
            told = _Told(reason, now, math.inf, housekeeping.HEAD)
        for _ in range(STEPS_AT_ONCE):
            explained, killed = self._ledger.call(self._step(lane, told, error))
            told = told._replace(place=explained.place)
            self._tell_of(killed)
            if not explained.more and len(killed) < housekeeping.STEP:
                through_at = min(told.through_at, now)
                told = told._replace(again_at=now + EXPLAIN_AGAIN_SECONDS, through_at=through_at)
                break
        self._told[lane] = told

    def _step(
        self, lane: Lane, told: _Told, error: ConfigError | None
    ) -> Operation[tuple[housekeeping.Explained, list[str]]]:
        unknown = isinstance(error, UnknownCompany | UnknownUser)
        over = f"{told.reason}; it did not come within {self._wait_seconds:.0f} s"

        def operation(connection: Connection, at: Now) -> tuple[housekeeping.Explained, list[str]]:
            explained = housekeeping.explain_lane(
                connection, at, lane, told.reason, after=told.place
            )
            if not unknown:
                return explained, []
            return explained, housekeeping.kill_lane(
                connection, at, lane, older_than_seconds=self._wait_seconds, reason=over
            )

        return operation

    def _forget(self, now: float) -> None:
        """Drop the lanes that nobody asked about lately: anybody may name a company."""
        if now < self._forget_at:
            return
        self._forget_at = now + EXPLAIN_AGAIN_SECONDS
        self._told = {
            lane: told
            for lane, told in self._told.items()
            if told.again_at > now - EXPLAIN_AGAIN_SECONDS
        }
