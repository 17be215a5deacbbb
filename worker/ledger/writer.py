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
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy.exc import DBAPIError

from worker.errors import LedgerUnavailable
from worker.ledger.engine import Operation, begin, transact, translated

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from worker.ledger.clock import Clock

T = TypeVar("T")
GROUP = 64
"""How many operations one transaction takes at the most: it bounds how long others wait."""


class Writer:
    """The one thread of a process that writes to the ledger."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._waiting: deque[tuple[Operation[Any], Future[Any]]] = deque()
        self._something = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
        self._thread.start()

    def submit(self, operation: Operation[T]) -> Future[T]:
        """Queue an operation; the future ends when it has committed or failed.

        Raises:
            LedgerUnavailable: the writer was closed.
        """
        future: Future[T] = Future()
        with self._something:
            if self._closed:
                raise LedgerUnavailable("the ledger was closed: this worker is stopping")
            self._waiting.append((operation, future))
            self._something.notify()
        return future

    def call(self, operation: Operation[T]) -> T:
        """Do an operation and wait for its commit; for threads, not for the event loop."""
        return self.submit(operation).result()

    async def run(self, operation: Operation[T]) -> T:
        """Do an operation and wait for its commit on the event loop.

        A cancelled caller leaves the operation to finish: what it wrote stays true.
        """
        return await asyncio.shield(asyncio.wrap_future(self.submit(operation)))

    def close(self) -> None:
        """Finish what is queued, then end the thread; safe to call twice."""
        with self._something:
            self._closed = True
            self._something.notify()
        self._thread.join()

    def _run(self) -> None:
        connection: Connection | None = None
        while group := self._next_group():
            try:
                if connection is None:
                    with translated():
                        connection = self._engine.connect()
            except LedgerUnavailable as error:
                for _, future in group:
                    future.set_exception(error)
                continue
            if not self._commit_group(connection, group):
                self._commit_singly(connection, group)
        if connection is not None:
            connection.close()

    def _next_group(self) -> list[tuple[Operation[Any], Future[Any]]]:
        with self._something:
            while not self._waiting and not self._closed:
                self._something.wait()
            count = min(GROUP, len(self._waiting))
            return [self._waiting.popleft() for _ in range(count)]

    def _commit_group(
        self, connection: Connection, group: list[tuple[Operation[Any], Future[Any]]]
    ) -> bool:
        if len(group) == 1:
            return False
        try:
            with translated():
                begin(connection)
        except LedgerUnavailable as error:  # repeated one by one, each would wait for the lock anew
            connection.invalidate()
            for _, future in group:
                future.set_exception(error)
            return True
        try:
            now = self._clock.now()
            results = [operation(connection, now) for operation, _ in group]
            connection.commit()
        except Exception:  # noqa: BLE001 - whatever it was, each is repeated alone and told its own error
            _roll_back(connection)
            return False
        for (_, future), result in zip(group, results, strict=True):
            future.set_result(result)
        return True

    def _commit_singly(
        self, connection: Connection, group: list[tuple[Operation[Any], Future[Any]]]
    ) -> None:
        for operation, future in group:
            try:
                result = transact(connection, self._clock, operation)
            except Exception as error:  # noqa: BLE001 - the caller gets it, the thread lives on
                if isinstance(error, LedgerUnavailable):
                    connection.invalidate()  # the next operation opens the file anew
                future.set_exception(error)
            else:
                future.set_result(result)


def _roll_back(connection: Connection) -> None:
    try:
        connection.rollback()
    except DBAPIError:
        connection.invalidate()
