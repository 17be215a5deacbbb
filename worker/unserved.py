"""What becomes of a waiting line that no settings serve: it is told why, and ends some day."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from config.errors import UnknownCompany, UnknownUser
from worker.ledger import housekeeping

if TYPE_CHECKING:
    from collections.abc import Callable

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
        *,
        wait_seconds: float = WAIT_FOR_SETTINGS_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._wait_seconds = wait_seconds
        self._clock = clock
        self._again: dict[Lane, float] = {}

    def __call__(self, lane: Lane, reason: str, error: ConfigError | None) -> None:
        """Explain a lane that can't be served; cheap when it was explained just now.

        Raises:
            LedgerUnavailable: the ledger is away.
        """
        now = self._clock()
        if self._again.get(lane, 0.0) > now:
            return
        self._again[lane] = now + EXPLAIN_AGAIN_SECONDS
        unknown = isinstance(error, UnknownCompany | UnknownUser)

        def operation(connection: Connection, at: Now) -> int:
            changed = housekeeping.explain_lane(connection, lane, reason)
            if unknown:
                changed += len(
                    housekeeping.kill_lane(
                        connection,
                        at,
                        lane,
                        older_than_seconds=self._wait_seconds,
                        reason=f"{reason}; it did not come within {self._wait_seconds:.0f} s",
                    )
                )
            return changed

        while self._ledger.call(operation) >= housekeeping.STEP:
            pass
