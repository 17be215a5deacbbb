"""What becomes of a waiting line that no settings serve: it is told why, and ends some day."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from config.errors import UnknownCompany, UnknownUser
from worker.ledger import housekeeping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sqlalchemy import Connection

    from config.errors import ConfigError
    from worker.ledger.clock import Now
    from worker.ledger.lanes import Lane
    from worker.ledger.ledger import Ledger

WAIT_FOR_SETTINGS_SECONDS = 15 * 60.0
"""Settings follow the application in every real roll-out, so an unknown company waits this long."""
EXPLAIN_AGAIN_SECONDS = 2.0


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
        self._told: dict[Lane, tuple[str, float]] = {}
        self._forget_at = 0.0

    def __call__(self, lane: Lane, reason: str, error: ConfigError | None) -> None:
        """Explain a lane that can't be served; cheap when the same was said of it just now.

        Raises:
            LedgerUnavailable: the ledger is away.
        """
        now = self._clock()
        said, again_at = self._told.get(lane, ("", 0.0))
        if said == reason and again_at > now:
            return
        self._forget(now)
        self._told[lane] = (reason, now + EXPLAIN_AGAIN_SECONDS)
        unknown = isinstance(error, UnknownCompany | UnknownUser)

        over = f"{reason}; it did not come within {self._wait_seconds:.0f} s"

        def operation(connection: Connection, at: Now) -> tuple[int, list[str]]:
            changed = housekeeping.explain_lane(connection, lane, reason)
            if not unknown:
                return changed, []
            killed = housekeeping.kill_lane(
                connection, at, lane, older_than_seconds=self._wait_seconds, reason=over
            )
            return changed + len(killed), killed

        changed = housekeeping.STEP
        while changed >= housekeeping.STEP:
            changed, killed = self._ledger.call(operation)
            self._tell_of(killed)

    def _forget(self, now: float) -> None:
        """Drop the lanes that nobody asked about lately: anybody may name a company."""
        if now < self._forget_at:
            return
        self._forget_at = now + EXPLAIN_AGAIN_SECONDS
        self._told = {lane: told for lane, told in self._told.items() if told[1] > now}
