"""The ledger as the rest of the worker sees it: open it, change it, read it."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import text

from worker.ledger import deliveries, endings, holds, workers
from worker.ledger.boot import note_run
from worker.ledger.engine import clock_of, open_engine, transact, translated
from worker.ledger.postgresql import be_patient
from worker.ledger.rows import Claim, NewJob, Settlement, State
from worker.ledger.upgrade import make_or_check
from worker.ledger.writer import Writer

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from worker.ledger.clock import Clock, Now
    from worker.ledger.engine import Operation

T = TypeVar("T")
_LOCK_OWNER = text("SELECT 1 FROM worker WHERE id = :worker FOR UPDATE")
READER_SECONDS = 30
"""Counting a long history may take longer than a statement that holds locks."""


class Ledger:
    """One process's way to the ledger. Thread-safe; open it after a fork, never before.

    Args:
        url: an SQLAlchemy address, as ``sqlite:////var/lib/postmeter/ledger.db``.
        clock: the time; the database's own unless a test passes another.
        reader_seconds: how long one query may take on PostgreSQL.
        must_exist: make no SQLite file where there is none, nor its folder.

    Attributes:
        owner: the worker that takes and begins here, once it has registered.
        holds_put: how often ``hold`` was called; a change says that the holds are worth a look.

    Raises:
        LedgerUnusable: the address, the version or the system does not fit.
        LedgerUnavailable: the database cannot be opened now.
    """

    def __init__(
        self,
        url: str,
        clock: Clock | None = None,
        *,
        reader_seconds: int = READER_SECONDS,
        must_exist: bool = False,
    ) -> None:
        self._engine = open_engine(url, must_exist=must_exist)
        self.clock: Clock = clock or clock_of(self._engine)
        with translated(), self._engine.connect() as connection:
            transact(connection, self.clock, lambda c, _: make_or_check(c))
        self._writer = Writer(self._engine, self.clock, prepare=self._note_run)
        self._reader_seconds = reader_seconds
        self.owner = ""
        self.holds_put = 0
        self._reading = threading.Lock()
        self._reader: Connection | None = None

    def _note_run(self, connection: Connection, now: Now) -> None:
        if note_run(connection, now, self.clock):
            workers.reap(connection, now)

    def now(self) -> Now:
        """Read both clocks, for plans: what is written gets the time of its own transaction."""
        return self.clock.now()

    def call(self, operation: Operation[T]) -> T:
        """Do one operation and wait for its commit; for threads.

        Raises:
            LedgerUnavailable: the ledger is away; nothing was written.
        """
        return self._writer.call(operation)

    async def run(self, operation: Operation[T], *, can_wait: bool = False) -> T:
        """Do one operation and wait for its commit; for the event loop.

        Args:
            can_wait: let what is on its way out go first.

        Raises:
            LedgerUnavailable: the ledger is away; nothing was written.
        """
        return await self._writer.run(operation, can_wait=can_wait)

    async def accept(self, job: NewJob) -> bool:
        """Write a job's row; whether it was new."""
        return await self.run(partial(_accept, job=job), can_wait=True)

    async def settle(
        self, job_id: str, token: str, attempt: int, settlement: Settlement, *, begun: bool
    ) -> bool:
        """Record an attempt's outcome, let its slots rest, end the hold it probed."""

        def operation(connection: Connection, now: Now) -> bool:
            if settlement.answered:
                holds.clear_probed(connection, token)
            else:
                holds.end_probes(connection, token)
            return endings.settle(connection, now, job_id, token, attempt, settlement, begun=begun)

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
            return endings.release(
                connection, now, claim, due_at=due_at, reason=reason, event=event
            )

        return await self.run(operation)

    def read(self, operation: Operation[T]) -> T:
        """Run a query outside the writer's transactions, on a connection of its own.

        Raises:
            LedgerUnavailable: the ledger is away.
        """
        with self._reading, translated():
            if self._reader is None:
                self._reader = self._open_reader()
            try:
                return operation(self._reader, self.clock.now())
            except BaseException:
                self._reader.close()
                self._reader = None
                raise

    def _open_reader(self) -> Connection:
        reader = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        be_patient(reader, self._reader_seconds)
        return reader

    def disown(self, token: str) -> None:
        """Undo a take or begin whose commit may or may not have happened.

        Nothing has left for it, and nobody will ask for it again. It is undone with the next
        transaction that commits, whenever that is.
        """
        self._writer.owe(partial(_disown, token=token, owner=self.owner))

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


def _disown(connection: Connection, now: Now, *, token: str, owner: str) -> None:
    # Whatever takes or begins holds the worker's row: this waits for a commit still under way.
    connection.execute(_LOCK_OWNER, {"worker": owner}).first()
    holds.end_probes(connection, token)
    endings.disown(connection, now, token)


__all__ = ["Claim", "Ledger", "NewJob", "Settlement", "State"]
