"""Group commit: many callers' operations in one transaction, each told when it has committed.

A commit with ``synchronous=FULL`` costs about as much as a hundred statements, so operations that
arrive while a commit runs share the next one. A caller waits for the commit, never only for its
statement. If one operation of a group fails, the group is rolled back and repeated one by one, so
that no caller pays for another's mistake.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy.exc import DBAPIError

from worker.errors import LedgerUnavailable, LedgerUnusable
from worker.ledger.engine import (
    Operation,
    begin,
    is_rolled_back,
    read_time,
    transact,
    translated,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from worker.ledger.clock import Clock

T = TypeVar("T")
GROUP = 64
"""How many operations one transaction takes at the most: it bounds how long others wait."""
BESIDE = 8
"""How many operations that can wait go beside those that cannot."""


class Writer:
    """The one thread of a process that writes to the ledger.

    Args:
        prepare: done first on every new connection, in a transaction of its own.
    """

    def __init__(
        self, engine: Engine, clock: Clock, prepare: Operation[None] | None = None
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._prepare = prepare
        self._connection: Connection | None = None
        self._urgent: deque[tuple[Operation[Any], Future[Any]]] = deque()
        self._patient: deque[tuple[Operation[Any], Future[Any]]] = deque()
        self._owed: deque[Operation[None]] = deque()
        self._something = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
        self._thread.start()

    def owe(self, operation: Operation[None]) -> None:
        """Do an operation before the next one that somebody waits for, as soon as it can be."""
        with self._something:
            self._owed.append(operation)

    def submit(self, operation: Operation[T], *, can_wait: bool = False) -> Future[T]:
        """Queue an operation; the future ends when it has committed or failed.

        Args:
            can_wait: let what cannot wait go first: jobs come in by the thousand, and what is on
                its way out would stand behind them.

        Raises:
            LedgerUnavailable: the writer was closed.
        """
        future: Future[T] = Future()
        with self._something:
            if self._closed:
                raise LedgerUnavailable("the ledger was closed: this worker is stopping")
            (self._patient if can_wait else self._urgent).append((operation, future))
            self._something.notify()
        return future

    def call(self, operation: Operation[T]) -> T:
        """Do an operation and wait for its commit; for threads, not for the event loop."""
        return self.submit(operation).result()

    async def run(self, operation: Operation[T], *, can_wait: bool = False) -> T:
        """Do an operation and wait for its commit on the event loop.

        A cancelled caller leaves the operation to finish: what it wrote stays true.
        """
        submitted = self.submit(operation, can_wait=can_wait)
        return await asyncio.shield(asyncio.wrap_future(submitted))

    def close(self) -> None:
        """Finish what is queued, then end the thread; safe to call twice."""
        with self._something:
            self._closed = True
            self._something.notify()
        self._thread.join()

    def _run(self) -> None:
        while group := self._next_group():
            try:
                connection = self._connected()
                self._pay(connection)
            except Exception as error:  # noqa: BLE001 - the callers get it, the thread lives on
                self._drop()
                for _, future in group:
                    future.set_exception(error)
                continue
            if not self._commit_group(connection, group):
                self._commit_singly(group)
        self._drop()

    def _connected(self) -> Connection:
        """The connection; a new one is prepared, for it may lead to another server."""
        if self._connection is not None and self._connection.invalidated:
            self._drop()
        if self._connection is None:
            with translated():
                self._connection = self._engine.connect()
            if self._prepare is not None:
                transact(self._connection, self._clock, self._prepare)
        return self._connection

    def _pay(self, connection: Connection) -> None:
        while self._owed:
            try:
                transact(connection, self._clock, self._owed[0])
            except LedgerUnavailable:
                raise
            except Exception:  # noqa: BLE001 - one that cannot be paid must not keep all others
                self._owed.popleft()
            else:
                self._owed.popleft()

    def _drop(self) -> None:
        """Let go of a connection that may be broken: the next operation makes a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(DBAPIError):
                connection.invalidate()
            connection.close()

    def _next_group(self) -> list[tuple[Operation[Any], Future[Any]]]:
        """What is urgent first; what can wait gets a small place beside it, and all when alone."""
        with self._something:
            while not self._urgent and not self._patient and not self._closed:
                self._something.wait()
            urgent = [self._urgent.popleft() for _ in range(min(GROUP, len(self._urgent)))]
            beside = min(len(self._patient), BESIDE if urgent else GROUP)
            return urgent + [self._patient.popleft() for _ in range(beside)]

    def _commit_group(
        self, connection: Connection, group: list[tuple[Operation[Any], Future[Any]]]
    ) -> bool:
        if len(group) == 1:
            return False
        try:
            with translated():
                begin(connection)
        except Exception as error:  # noqa: BLE001 - repeated one by one, each would wait for the lock anew
            self._drop()
            for _, future in group:
                future.set_exception(error)
            return True
        try:
            now = read_time(connection, self._clock)
            results = [operation(connection, now) for operation, _ in group]
        except Exception:  # noqa: BLE001 - whatever it was, each is repeated alone and told its own error
            self._roll_back(connection)
            return False
        try:
            with translated():
                connection.commit()
        except Exception as error:  # noqa: BLE001 - whatever it was, the callers are told
            if is_rolled_back(error.__cause__):
                self._roll_back(connection)
                return False
            self._drop()  # nobody knows whether it was done: nothing may be repeated
            for _, future in group:
                future.set_exception(error)
            return True
        self._clock.step_seconds = 0.0
        for (_, future), result in zip(group, results, strict=True):
            future.set_result(result)
        return True

    def _roll_back(self, connection: Connection) -> None:
        try:
            connection.rollback()
        except DBAPIError:
            self._drop()

    def _commit_singly(self, group: list[tuple[Operation[Any], Future[Any]]]) -> None:
        for operation, future in group:
            try:
                result = transact(self._connected(), self._clock, operation)
            except Exception as error:  # noqa: BLE001 - the caller gets it, the thread lives on
                if isinstance(error, LedgerUnavailable | LedgerUnusable):
                    self._drop()
                future.set_exception(error)
            else:
                future.set_result(result)
