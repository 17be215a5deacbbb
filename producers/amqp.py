"""RabbitMQ as the way in: one shared connection, replaced when it is lost or after a fork."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

import pika

from .amqp_connection import AccessRefused, AmqpConnection, ConnectionLost, Publication
from .errors import BrokerUnavailable, NotConfirmed, ProducerClosed, ProducerError, Unroutable
from .forks import forget_on_fork

if TYPE_CHECKING:
    from collections.abc import Callable

    from .topology import Topology

_FIRST_PAUSE_SECONDS: Final = 0.05
_LONGEST_PAUSE_SECONDS: Final = 1.0
_CLOSE_SECONDS: Final = 5.0
#: How many messages are handed to the connection's thread at once: the two threads then take
#: turns instead of fighting for the interpreter (measured: 250 is twice as fast as 1).
_CHUNK: Final = 250
_CHUNK_BYTES: Final = 1 << 20
_CHUNK_SECONDS: Final = 0.05
_WINDOW: Final = 1000
_WINDOW_BYTES: Final = 16 << 20


class AmqpSender:
    """Hands messages to RabbitMQ; thread-safe, fork-safe, and it survives idle times and restarts.

    A message whose connection was lost before its confirm is sent again on a new one, within the
    time allowed: it has the same id, so it is delivered once.
    """

    def __init__(
        self, url: str, topology: Topology, *, confirm_timeout_seconds: float, declare: bool
    ) -> None:
        self._parameters = pika.URLParameters(url)
        self._parameters.connection_attempts = 1
        self._parameters.socket_timeout = confirm_timeout_seconds
        self._parameters.stack_timeout = confirm_timeout_seconds
        self._parameters.client_properties = {"connection_name": "postmeter producer"}
        self._topology = topology
        self._timeout_seconds = confirm_timeout_seconds
        self._declare = declare
        self._closed = False
        self._connection: AmqpConnection | None = None
        self.forget()
        forget_on_fork(self)

    def forget(self) -> object:
        """In a forked child: a new lock, and no connection."""
        inherited, self._connection = self._connection, None
        self._lock = threading.Lock()
        return inherited

    def send(self, queue: str, job_id: str, body: bytes) -> None:
        """Hand one message over and wait for the confirm.

        Raises:
            NotConfirmed, TopologyMismatch, ProducerClosed: see ``sender.Sender``.
        """
        deadline = time.monotonic() + self._timeout_seconds
        may_declare_again = self._declare
        perhaps_stored = False
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                connection = self._connected(deadline)
                self._attempt(connection, queue, job_id, body, deadline)
            except Unroutable:
                if not may_declare_again:
                    raise
                may_declare_again = False  # somebody deleted the queue: declare it once more
                self._drop(connection)
            except ConnectionLost as error:
                perhaps_stored = True
                if time.monotonic() + pause >= deadline:
                    raise NotConfirmed(str(error)) from None
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            except BrokerUnavailable as error:
                if perhaps_stored:  # by the attempt before, so it would be wrong to deny it
                    raise NotConfirmed(str(error)) from None
                raise
            else:
                return

    def stream(self, queue: str) -> AmqpStream:
        """Begin to hand many messages over to one queue.

        Raises:
            NotConfirmed, TopologyMismatch, ProducerClosed: see ``sender.Sender``.
        """
        connection = self._connected(time.monotonic() + self._timeout_seconds)
        return AmqpStream(connection, queue, self._timeout_seconds, self._drop)

    def close(self) -> None:
        """Close the connection politely; safe to call twice."""
        self._closed = True
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close(_CLOSE_SECONDS)

    def _attempt(
        self, connection: AmqpConnection, queue: str, job_id: str, body: bytes, deadline: float
    ) -> None:
        waiter = _Waiter()
        publication = Publication(queue, job_id, body, waiter)
        connection.publish([publication])
        if waiter.done.wait(max(0.0, deadline - time.monotonic())):
            if waiter.error is not None:
                raise waiter.error
            return
        waited = f"within {self._timeout_seconds:g} s"
        why = f": RabbitMQ takes nothing ({connection.blocked})" if connection.blocked else ""
        if connection.withdraw(publication):
            raise BrokerUnavailable(f"not handed over {waited}{why}")
        if time.monotonic() - connection.last_progress >= self._timeout_seconds and not why:
            self._drop(connection)  # it answers nobody: the next one gets a new connection
        raise NotConfirmed(f"no confirm from RabbitMQ {waited}{why}")

    def _connected(self, deadline: float) -> AmqpConnection:
        """The present connection, or a new one."""
        if not self._lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise BrokerUnavailable("RabbitMQ does not answer")
        try:
            if self._closed:
                raise ProducerClosed("this producer is closed")
            if self._connection is None or not self._connection.is_open:
                self._connection = self._connect(deadline)
            return self._connection
        finally:
            self._lock.release()

    def _connect(self, deadline: float) -> AmqpConnection:
        pause = _FIRST_PAUSE_SECONDS
        while True:
            connection = AmqpConnection(self._parameters, self._topology, declares=self._declare)
            try:
                connection.open(max(0.0, deadline - time.monotonic()))
            except AccessRefused:
                raise
            except BrokerUnavailable:
                if time.monotonic() + pause >= deadline:
                    raise
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            else:
                return connection

    def _drop(self, connection: AmqpConnection) -> None:
        with self._lock:
            if self._connection is connection:
                self._connection = None
        connection.close()


class _Waiter:
    """One thread that waits for one confirm."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.error: ProducerError | None = None

    def settled(self, tokens: list[int], error: ProducerError | None) -> None:  # noqa: ARG002 it waits for one only
        self.error = error
        self.done.set()


class AmqpStream:
    """Messages with their confirms pipelined on one connection; broken for good by its first fault."""

    def __init__(
        self,
        connection: AmqpConnection,
        queue: str,
        timeout_seconds: float,
        drop: Callable[[AmqpConnection], None],
    ) -> None:
        self._connection = connection
        self._queue = queue
        self._timeout_seconds = timeout_seconds
        self._drop = drop
        self._changed = threading.Condition()
        self._waiting: list[Publication] = []
        self._waiting_bytes = 0
        self._handed_over_at = 0.0
        self._open: dict[int, int] = {}  # index of what is not confirmed: its size
        self._open_bytes = 0
        self._confirmed = 0
        self._failure: ProducerError | None = None

    @property
    def confirmed(self) -> int:
        """Exactly how many messages the broker has confirmed so far."""
        with self._changed:
            return self._confirmed

    def first_unconfirmed(self) -> int | None:
        """The lowest index put in and not confirmed, or None."""
        with self._changed:
            return min([*self._open, *(p.token for p in self._waiting)], default=None)

    def put(self, index: int, job_id: str, body: bytes) -> None:
        """Send one more.

        Raises:
            NotConfirmed: the stream is broken.
        """
        self._waiting.append(Publication(self._queue, job_id, body, self, token=index))
        self._waiting_bytes += len(body)
        if (
            len(self._waiting) >= _CHUNK
            or self._waiting_bytes >= _CHUNK_BYTES
            or time.monotonic() - self._handed_over_at > _CHUNK_SECONDS
        ):
            self._hand_over()

    def finish(self) -> None:
        """Wait until everything put in is confirmed.

        Raises:
            NotConfirmed: the stream is broken.
        """
        self._hand_over()
        self._wait_until_open(0, 0)

    def settled(self, tokens: list[int], error: ProducerError | None) -> None:
        """Called by the connection's thread: these are confirmed, or failed."""
        with self._changed:
            if error is None:
                self._confirmed += len(tokens)
                for token in tokens:
                    self._open_bytes -= self._open.pop(token)
            elif self._failure is None:
                self._failure = error
            self._changed.notify()

    def _hand_over(self) -> None:
        self._wait_until_open(_WINDOW, _WINDOW_BYTES)
        with self._changed:
            self._open.update((p.token, len(p.body)) for p in self._waiting)
            self._open_bytes += self._waiting_bytes
        publications, self._waiting, self._waiting_bytes = self._waiting, [], 0
        self._handed_over_at = time.monotonic()
        self._connection.publish(publications)

    def _wait_until_open(self, messages: int, size: int) -> None:
        """Wait until no more than this is unconfirmed."""
        with self._changed:
            while self._failure is None:
                if len(self._open) <= messages and self._open_bytes <= size:
                    return
                if not self._changed.wait(self._timeout_seconds):
                    self._failure = NotConfirmed(self._silence())
        self._drop(self._connection)
        raise self._failure

    def _silence(self) -> str:
        blocked = self._connection.blocked
        why = f": RabbitMQ takes nothing ({blocked})" if blocked else ""
        return f"no confirm from RabbitMQ within {self._timeout_seconds:g} s{why}"
