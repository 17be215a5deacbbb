"""The ledger as the rest of the worker sees it: open it, change it, read it."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from worker.ledger import deliveries, holds, lanes, workers
from worker.ledger.clock import HostClock
from worker.ledger.engine import note_boot, open_engine, transact, translated
from worker.ledger.rows import Claim, NewJob, Settlement, State
from worker.ledger.upgrade import make_or_check
from worker.ledger.writer import Writer

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from worker.ledger.clock import Clock, Now
    from worker.ledger.engine import Operation
    from worker.ledger.holds import Hold
    from worker.ledger.lanes import Lane

T = TypeVar("T")


class Ledger:
    """One process's way to the ledger. Thread-safe; open it after a fork, never before.

    Args:
        url: an SQLAlchemy address, as ``sqlite:////var/lib/postmeter/ledger.db``.
        clock: the time; the host's own unless a test passes another.

    Attributes:
        holds_put: how often ``hold`` was called; a change says that the holds are worth a look.

    Raises:
        LedgerUnusable: the address, the version or the system does not fit.
        LedgerUnavailable: the database cannot be opened now.
    """

    def __init__(self, url: str, clock: Clock | None = None) -> None:
        self.clock: Clock = clock or HostClock.of_this_host()
        self._engine = open_engine(url)
        with translated(), self._engine.connect() as connection:
            transact(connection, self.clock, lambda c, _: make_or_check(c))
            transact(connection, self.clock, self._note_boot)
        self._writer = Writer(self._engine, self.clock)
        self.holds_put = 0
        self._reading = threading.Lock()
        self._reader: Connection | None = None

    def _note_boot(self, connection: Connection, now: Now) -> None:
        if note_boot(connection, now, self.clock.boot_id):
            workers.reap(connection, now)

    def now(self) -> Now:
        """Read both clocks."""
        return self.clock.now()

    def call(self, operation: Operation[T]) -> T:
        """Do one operation and wait for its commit; for threads.

        Raises:
            LedgerUnavailable: the ledger is away; nothing was written.
        """
        return self._writer.call(operation)

    async def run(self, operation: Operation[T]) -> T:
        """Do one operation and wait for its commit; for the event loop.

        Raises:
            LedgerUnavailable: the ledger is away; nothing was written.
        """
        return await self._writer.run(operation)

    async def accept(self, job: NewJob) -> bool:
        """Write a job's row; whether it was new."""
        return await self.run(partial(_accept, job=job))

    async def settle(
        self, job_id: str, token: str, attempt: int, settlement: Settlement, *, begun: bool
    ) -> bool:
        """Record an attempt's outcome, let its slots rest, end the hold it probed."""

        def operation(connection: Connection, now: Now) -> bool:
            if settlement.answered:
                holds.clear_probed(connection, token)
            else:
                holds.end_probes(connection, token)
            return deliveries.settle(
                connection, now, job_id, token, attempt, settlement, begun=begun
            )

        return await self.run(operation)

    async def hold(
        self,
        target: str,
        reason: str,
        *,
        token: str = "",
        probe_after_seconds: float | None = None,
    ) -> None:
        """Hold a target, or say that the probe with this token has failed."""
        await self.run(
            lambda c, now: holds.put_hold(
                c, now, target, reason, token=token, probe_after_seconds=probe_after_seconds
            )
        )
        self.holds_put += 1

    async def release(
        self, claim: Claim, *, due_at: float, reason: str, event: str | None = None
    ) -> bool:
        """Put a claimed job back unused; only if MAIL was never sent."""

        def operation(connection: Connection, now: Now) -> bool:
            holds.end_probes(connection, claim.token)
            return deliveries.release(
                connection, now, claim, due_at=due_at, reason=reason, event=event
            )

        return await self.run(operation)

    def read_lanes(self) -> tuple[list[Lane], float | None, list[Hold]]:
        """Read what the pump needs: lanes that are due, when the next one is, every hold."""

        def operation(
            connection: Connection, now: Now
        ) -> tuple[list[Lane], float | None, list[Hold]]:
            due, later = lanes.due_lanes(connection, now)
            return due, later, holds.all_holds(connection)

        return self.read(operation)

    def read(self, operation: Operation[T]) -> T:
        """Run a query outside the writer's transactions, on a connection of its own.

        Raises:
            LedgerUnavailable: the ledger is away.
        """
        with self._reading, translated():
            if self._reader is None:
                self._reader = self._engine.connect().execution_options(
                    isolation_level="AUTOCOMMIT"
                )
            try:
                return operation(self._reader, self.clock.now())
            except BaseException:
                self._reader.close()
                self._reader = None
                raise

    def close(self) -> None:
        """Finish what is queued and close the database; safe to call twice."""
        self._writer.close()
        with self._reading:
            if self._reader is not None:
                self._reader.close()
                self._reader = None
        self._engine.dispose()


def _accept(connection: Connection, now: Now, *, job: NewJob) -> bool:
    return deliveries.accept(connection, now, job)


__all__ = ["Claim", "Ledger", "NewJob", "Settlement", "State"]
