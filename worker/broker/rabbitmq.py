"""A session on RabbitMQ: one connection, one channel, one queue."""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from typing import TYPE_CHECKING, Any

import pika
import pika.exceptions

from worker.broker.acks import AckPlan
from worker.broker.consumer import Delivery, Session
from worker.errors import BrokerUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# pika tells of every failed attempt in seven lines and a stack; we say it once, in one.
logging.getLogger("pika").setLevel(logging.CRITICAL)

HEARTBEAT_SECONDS = 30
BLOCKED_TIMEOUT_SECONDS = 30
CONNECT_TIMEOUT_SECONDS = 5


def connection_parameters(url: str, name: str) -> pika.URLParameters:
    """What to connect with: one attempt, bounded in time, and a name that operators can read."""
    parameters = pika.URLParameters(url)
    parameters.heartbeat = HEARTBEAT_SECONDS
    parameters.blocked_connection_timeout = BLOCKED_TIMEOUT_SECONDS
    parameters.socket_timeout = CONNECT_TIMEOUT_SECONDS
    parameters.stack_timeout = CONNECT_TIMEOUT_SECONDS
    parameters.connection_attempts = 1
    parameters.client_properties = {"connection_name": name}
    return parameters


@contextlib.contextmanager
def _as_unavailable() -> Iterator[None]:
    """Turn what pika raises into ``BrokerUnavailable``; the address in it carries no password."""
    try:
        yield
    except (pika.exceptions.AMQPError, OSError, AssertionError) as error:
        raise BrokerUnavailable(describe(error)) from error


def describe(error: BaseException) -> str:
    """One line about what pika raised, whose own ``str`` is often empty."""
    # A connection that never came is a wrapper around a wrapper of what the system said.
    inner = getattr(error, "exception", None) or next(iter(error.args), None)
    if isinstance(inner, BaseException):
        return describe(inner)
    return f"{type(error).__name__}: {error}".rstrip(": ")


class RabbitmqSession(Session):
    """Takes from one queue, acknowledges in groups.

    An acknowledgement is noted from any thread and sent from the consumer's: pika runs thread-safe
    callbacks only within ``process_data_events``, so one callback sends all that gathered. Tags
    restart at 1 with each channel; that is why they stay with the session.
    """

    def __init__(
        self, url: str, queue: str, *, prefetch: int, declare: Callable[[Any], None]
    ) -> None:
        """Connect, declare the topology and start to consume.

        Raises:
            BrokerUnavailable: no connection, or the server refused.
        """
        super().__init__()
        self._deliveries: deque[Delivery] = deque()
        self._acks: deque[int] = deque()
        self._plan = AckPlan()
        self._flushing = False
        self._open = True
        self._consuming = True
        with _as_unavailable():
            parameters = connection_parameters(url, f"postmeter worker {queue}")
            self._connection: Any = pika.BlockingConnection(parameters)
        try:
            with _as_unavailable():
                self._channel: Any = self._connection.channel()
                declare(self._channel)
                self._channel.basic_qos(prefetch_count=prefetch)
                self._channel.add_on_cancel_callback(self._on_cancelled)
                self._consumer_tag = self._channel.basic_consume(queue, self._on_delivery)
        except BaseException:
            self.close()
            raise

    @property
    def is_open(self) -> bool:
        """Whether the channel lives; after that every delivery belongs to RabbitMQ again."""
        return self._open

    def next(self, timeout_seconds: float) -> Delivery | None:
        """The next delivery, or None after the time-out, a wake or sent acknowledgements.

        Raises:
            BrokerUnavailable: the connection, the channel or the queue is gone.
        """
        if not self._deliveries:
            with _as_unavailable():
                self._connection.process_data_events(time_limit=timeout_seconds)
        elif self._acks:
            with _as_unavailable():
                self._flush()
        if not self._channel.is_open:
            raise BrokerUnavailable("RabbitMQ closed the channel")
        if not self._open:
            raise BrokerUnavailable("RabbitMQ cancelled the consumer")
        return self._deliveries.popleft() if self._deliveries else None

    def ack(self, tag: int) -> None:
        """Acknowledge with the next group; dropped when the channel is gone."""
        if not self._open:
            return
        self._acks.append(tag)
        if not self._flushing:
            self._flushing = True
            self._in_thread(self._flush)

    def wake(self) -> None:
        """Let a blocked ``next`` return."""
        self._in_thread(lambda: None)

    def stop_taking(self) -> None:
        """Cancel the consumer; the channel stays, for acknowledgements and heartbeats.

        What arrives while the cancel is under way pika rejects with requeue: a quorum queue puts
        those few at its back. Holding them until the channel closes would delay them by the grace.

        Raises:
            BrokerUnavailable: the connection is lost.
        """
        if self._consuming:
            self._consuming = False
            with _as_unavailable():
                self._channel.basic_cancel(self._consumer_tag)

    def close(self) -> None:
        """Send the acknowledgements given so far and close; RabbitMQ puts the rest back in front."""
        with contextlib.suppress(pika.exceptions.AMQPError, OSError, AssertionError):
            if self._open and self._channel.is_open:
                self._flush()
        self._open = False
        with contextlib.suppress(pika.exceptions.AMQPError, OSError, AssertionError):
            if self._connection.is_open:
                self._connection.close()

    def _flush(self) -> None:
        """Send what gathered; runs in the consumer's thread."""
        self._flushing = False
        tags = [self._acks.popleft() for _ in range(len(self._acks))]
        for tag, multiple in self._plan.acknowledge(tags):
            self._channel.basic_ack(tag, multiple=multiple)

    def _in_thread(self, callback: Callable[[], None]) -> None:
        with contextlib.suppress(pika.exceptions.ConnectionWrongStateError):
            self._connection.add_callback_threadsafe(callback)

    def _on_delivery(self, _channel: Any, method: Any, properties: Any, body: bytes) -> None:
        self._deliveries.append(
            Delivery(
                tag=method.delivery_tag,
                body=body,
                redelivered=method.redelivered,
                message_id=properties.message_id,
            )
        )

    def _on_cancelled(self, _frame: Any) -> None:
        """Lose the session: the queue was deleted or RabbitMQ's consumer time-out passed."""
        self._open = False
