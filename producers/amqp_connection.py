"""One connection to RabbitMQ, with a thread of its own that answers heartbeats and takes confirms.

From opened to closed; never used again after that. Any thread may publish.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import pika
import pika.exceptions

from .amqp_frames import joined, publish_frames
from .errors import BrokerUnavailable, NotConfirmed, ProducerError, TopologyMismatch, Unroutable
from .topology import declare

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .topology import Topology

#: Messages written before the thread looks at what came in.
_BURST: Final = 250
_PRECONDITION_FAILED: Final = 406
_REFUSED: Final = "RabbitMQ refused the message (nack): its queue is full or failing"


class Receiver(Protocol):
    """Who wants to know what became of published messages; called in the connection's thread."""

    def settled(self, tokens: list[int], error: ProducerError | None) -> None:
        """These messages are confirmed, or failed with this error."""


class ConnectionLost(NotConfirmed):
    """The connection ended; the same message may be published again on another."""


class AccessRefused(BrokerUnavailable):
    """Trying again will not help: a person must act."""


@dataclass(slots=True, eq=False)
class Publication:
    """One message on its way."""

    queue: str
    job_id: str
    body: bytes
    receiver: Receiver
    token: int = 0
    withdrawn: bool = False


class AmqpConnection:
    """A connection with publisher confirms, opened by ``open``."""

    def __init__(
        self, parameters: pika.ConnectionParameters, topology: Topology, *, declares: bool
    ) -> None:
        self._parameters = parameters
        self._topology = topology
        self._declares = declares
        self._lock = threading.Lock()
        self._settled_once = threading.Event()  # opened, or failed to
        self._outgoing: deque[Publication] = deque()
        self._scheduled = False
        self._unconfirmed: dict[int, Publication] = {}
        self._tags = itertools.count(1)
        self._oldest = 1
        self._returned: set[str] = set()
        self._connection: Any = None
        self._channel: Any = None
        self._ready = False
        self._failure: ProducerError | None = None
        self._unwanted = False
        self.blocked: str | None = None
        self.last_progress = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="postmeter-producer", daemon=True)

    @property
    def is_open(self) -> bool:
        """Whether messages can be published now."""
        return self._ready and self._failure is None

    def open(self, timeout_seconds: float) -> None:
        """Connect, declare and turn confirms on.

        Raises:
            BrokerUnavailable: it did not work, or not in time.
            TopologyMismatch: the queues exist with other arguments.
        """
        self._thread.start()
        if not self._settled_once.wait(timeout_seconds):
            self.close()
            raise BrokerUnavailable("RabbitMQ does not answer")
        if self._failure is not None:
            raise self._failure

    def publish(self, publications: Iterable[Publication]) -> None:
        """Send messages; each one's receiver hears of it later.

        Raises:
            ConnectionLost: the connection is gone; nothing was sent.
        """
        with self._lock:
            if self._failure is not None:
                raise ConnectionLost(str(self._failure))
            self._outgoing.extend(publications)
            if not self._scheduled:
                self._scheduled = True
                self._connection.ioloop.add_callback_threadsafe(self._drain)

    def withdraw(self, publication: Publication) -> bool:
        """Take a message back; False if it was written already."""
        with self._lock:
            publication.withdrawn = True
            return publication in self._outgoing

    def close(self, timeout_seconds: float = 0.0) -> None:
        """Close the connection, waiting at most so long for it; safe to call twice."""
        with self._lock:
            self._unwanted = True  # where it is not open yet: as soon as it is
            if self._connection is not None:
                self._connection.ioloop.add_callback_threadsafe(self._close)
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(timeout_seconds)

    # Everything below runs in the connection's thread.

    def _run(self) -> None:
        try:
            connection = pika.SelectConnection(
                self._parameters,
                on_open_callback=self._on_open,
                on_open_error_callback=self._on_open_error,
                on_close_callback=self._on_close,
            )
            connection.add_on_connection_blocked_callback(self._on_blocked)
            connection.add_on_connection_unblocked_callback(self._on_unblocked)
            with self._lock:
                self._connection = connection
            connection.ioloop.start()
        except Exception as error:  # noqa: BLE001 whatever ends this thread must reach those who wait for it
            self._fail(BrokerUnavailable(f"the connection to RabbitMQ failed: {error!r}"))
        else:
            self._fail(BrokerUnavailable("the connection to RabbitMQ was closed"))
        with self._lock:  # nobody may wake the loop after this
            ended, self._connection = self._connection, None
        if ended is not None:
            ended.ioloop.close()

    def _on_open(self, connection: Any) -> None:
        if self._unwanted:
            self._close()
            return
        connection.channel(on_open_callback=self._on_channel)

    def _on_channel(self, channel: Any) -> None:
        self._channel = channel
        channel.add_on_close_callback(self._on_channel_closed)
        channel.add_on_return_callback(self._on_return)
        if self._declares:
            declare(channel, self._topology)
        # Answered after the declarations, so an answer means that they have worked.
        channel.confirm_delivery(self._on_confirm, callback=self._on_ready)

    def _on_ready(self, _frame: Any) -> None:
        self._ready = True
        self._settled_once.set()

    def _on_open_error(self, connection: Any, error: Any) -> None:
        self._fail(_open_failure(error))
        connection.ioloop.stop()

    def _on_channel_closed(self, _channel: Any, reason: Any) -> None:
        if getattr(reason, "reply_code", 0) == _PRECONDITION_FAILED and not self._ready:
            self._fail(TopologyMismatch(f"RabbitMQ has it otherwise: {reason.reply_text}"))
        else:
            self._fail(BrokerUnavailable(f"RabbitMQ closed the channel: {reason}"))
        self._close()

    def _on_close(self, connection: Any, reason: Any) -> None:
        self._fail(BrokerUnavailable(f"RabbitMQ closed the connection: {reason}"))
        connection.ioloop.stop()

    def _close(self) -> None:
        if self._connection.is_open:
            self._connection.close()

    def _on_blocked(self, _connection: Any, frame: Any) -> None:
        self.blocked = str(frame.method.reason)

    def _on_unblocked(self, _connection: Any, _frame: Any) -> None:
        self.blocked = None
        self._drain()

    def _drain(self) -> None:
        """Write what waits, at most a burst of it at once, so that confirms are read between."""
        with self._lock:
            if self.blocked is not None or not self.is_open:
                self._scheduled = False
                return
            burst = [self._outgoing.popleft() for _ in range(min(_BURST, len(self._outgoing)))]
            again = self._scheduled = bool(self._outgoing)
            burst = [publication for publication in burst if not publication.withdrawn]
            self._unconfirmed.update((next(self._tags), publication) for publication in burst)
        if burst:
            self._write(burst)
        if again:
            self._connection.ioloop.add_callback(self._drain)

    def _write(self, burst: list[Publication]) -> None:
        number, frame_max = self._channel.channel_number, self._connection.params.frame_max
        frames = (publish_frames(number, p.queue, p.job_id, p.body, frame_max) for p in burst)
        # pika's one way to the socket for frames made elsewhere; a contract test holds it.
        self._connection._output_marshaled_frames(  # noqa: SLF001 see above
            list(joined(itertools.chain.from_iterable(frames)))
        )

    def _on_return(self, _channel: Any, _method: Any, properties: Any, _body: Any) -> None:
        self._returned.add(properties.message_id)  # its confirm follows

    def _on_confirm(self, frame: Any) -> None:
        method = frame.method
        tags = [method.delivery_tag]
        if method.multiple:
            tags = list(range(self._oldest, method.delivery_tag + 1))
        self.last_progress = time.monotonic()
        refused = isinstance(method, pika.spec.Basic.Nack)
        with self._lock:
            done = [p for p in (self._unconfirmed.pop(tag, None) for tag in tags) if p is not None]
            self._oldest = next(iter(self._unconfirmed), method.delivery_tag + 1)
        for receiver, group in itertools.groupby(done, key=lambda p: p.receiver):
            tokens = []
            for publication in group:
                if publication.job_id in self._returned:
                    self._returned.discard(publication.job_id)
                    error = Unroutable(f"RabbitMQ has no queue {publication.queue}")
                    receiver.settled([publication.token], error)
                else:
                    tokens.append(publication.token)
            if tokens:
                receiver.settled(tokens, NotConfirmed(_REFUSED) if refused else None)

    def _fail(self, error: ProducerError) -> None:
        """The end: everything on its way is told; the first reason counts."""
        with self._lock:
            if self._failure is None:
                self._failure = error
            lost = [*self._unconfirmed.values(), *self._outgoing]
            self._unconfirmed.clear()
            self._outgoing.clear()
        self._settled_once.set()
        for publication in lost:
            publication.receiver.settled([publication.token], ConnectionLost(str(self._failure)))


def _open_failure(error: Any) -> BrokerUnavailable:
    if isinstance(error, pika.exceptions.ProbableAuthenticationError):
        return AccessRefused("RabbitMQ refused the user name or password")
    if isinstance(error, pika.exceptions.ProbableAccessDeniedError):
        return AccessRefused("RabbitMQ refused this user access to the virtual host")
    return BrokerUnavailable(f"RabbitMQ cannot be reached: {error!r}")
