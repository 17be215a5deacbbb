"""Connection leases: never more connections to a mailbox than allowed, however many workers run.

A cap of 3 is a scope of 3 slots whose window is 0: a slot is held as long as the connection lives,
and a dead worker's are freed with everything else it held.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from worker.errors import BeginRefused, Held, LedgerUnavailable
from worker.ledger import slots
from worker.ledger.lease import has_lease
from worker.outcome import HoldTarget, TargetKind
from worker.pace import Limit, scope_of_connections

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy import Connection

    from worker.ledger.clock import Now
    from worker.ledger.engine import Operation
    from worker.ledger.ledger import Ledger

LOOK_AGAIN_SECONDS = 0.25
PATIENCE_SECONDS = 20.0
"""How long a delivery waits for another worker to close a connection."""


class ConnectionLeases:
    """Hands out the right to have one more connection to a mailbox."""

    def __init__(
        self,
        ledger: Ledger,
        worker: str,
        new_token: Callable[[], str],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._ledger = ledger
        self._worker = worker
        self._new_token = new_token
        self._sleep = sleep
        self._patience_seconds = patience_seconds
        self._late: set[asyncio.Task[None]] = set()

    async def acquire(self, account: str, limit: int) -> str:
        """Wait for the right to connect; the lease's token.

        Raises:
            Held: other workers kept every connection of the mailbox for too long.
            BeginRefused: this worker was found dead: nobody would free what it got now.
            LedgerUnavailable: the ledger is away.
        """
        scope, waited = scope_of_connections(account), 0.0
        while (token := await self.take(scope, limit)) is None:
            if waited >= self._patience_seconds:
                raise Held(
                    f"all {limit} connections that mailbox_connections allows are in use",
                    target=HoldTarget(TargetKind.SCOPE, scope),
                )
            await self._sleep(LOOK_AGAIN_SECONDS)
            waited += LOOK_AGAIN_SECONDS
        return token

    async def take(self, scope: str, limit: int) -> str | None:
        """Take a place of any such scope, if one is free now; the lease's token.

        Raises:
            BeginRefused: this worker was found dead: nobody would free what it got now.
            LedgerUnavailable: the ledger is away.
        """
        token = self._new_token()
        cap = Limit(scope, limit, window_seconds=0.0, even=False)

        def operation(connection: Connection, now: Now) -> bool:
            if not has_lease(connection, self._worker):
                raise BeginRefused("this worker was found dead; it opens no connection")
            found = slots.find_slots(connection, now, [cap], 0.0)
            if isinstance(found, slots.Blocked):
                return False
            slots.take_slots(connection, now, found, worker=self._worker, token=token)
            return True

        return token if await self._take(operation, token) else None

    async def _take(self, operation: Operation[bool], token: str) -> bool:
        """Try once; a caller that is cancelled meanwhile leaves no lease behind."""
        try:
            return await self._ledger.run(operation)
        except asyncio.CancelledError:
            self._release_later(token)  # the ledger does what it was asked before, all the same
            raise
        except LedgerUnavailable:
            self._ledger.disown(token)  # it may have been taken, and nobody would close it
            raise

    async def release(self, token: str) -> None:
        """Give the right back, now or as soon as the ledger can be written again."""
        try:
            await self._ledger.run(lambda c, now: slots.settle_slots(c, now, token))
        except LedgerUnavailable:
            self._release_later(token, LOOK_AGAIN_SECONDS)

    def _release_later(self, token: str, after_seconds: float = 0.0) -> None:
        async def release() -> None:
            await self._sleep(after_seconds)
            await self.release(token)

        task = asyncio.get_running_loop().create_task(release())
        self._late.add(task)
        task.add_done_callback(self._late.discard)
