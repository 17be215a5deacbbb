"""Publishes outcomes to the topic exchange, and says which of them RabbitMQ has confirmed."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import pika
import pika.exceptions

from worker.broker.rabbitmq import connection_parameters, describe

if TYPE_CHECKING:
    from collections.abc import Sequence

logger = logging.getLogger(__name__)

CONFIRM_TIMEOUT_SECONDS = 10.0
RECONNECT_PAUSE_SECONDS = 1.0

Event = tuple[str, bytes]
"""Routing key (``sent.<company>.<kind>``) and JSON body."""


class Publisher(Protocol):
    """Where events go."""

    def publish(self, batch: Sequence[Event]) -> list[bool]:
        """Publish and wait; for each event, in order, whether it is safe now."""

    def close(self) -> None:
        """End; safe to call twice."""


class NullPublisher:
    """Confirms at once: without a broker (design 12) there is no exchange to listen on."""

    def publish(self, batch: Sequence[Event]) -> list[bool]:
        """Every event counts as published; what became of a job stands in the ledger."""
        return [True] * len(batch)

    def close(self) -> None:
        """Nothing to end."""


@dataclass(slots=True)
class _Request:
    batch: Sequence[Event]
    confirmed: list[bool]
    unanswered: int
    sent: bool = False
    done: threading.Event = field(default_factory=threading.Event)

    def answer(self, index: int, *, ok: bool) -> None:
        self.confirmed[index] = ok
        self.unanswered -= 1
        if self.unanswered == 0:
            self.done.set()


class EventPublisher:
    """Publishes a batch at a time with pipelined confirms, from a thread of its own.

    The thread keeps the connection alive while there is nothing to say, and connects again after
    it was lost. An event that is not confirmed may have been published all the same: consumers of
    events see each at least once.
    """

    def __init__(
        self,
        url: str,
        exchange: str,
        *,
        confirm_timeout_seconds: float = CONFIRM_TIMEOUT_SECONDS,
    ) -> None:
        self._parameters = connection_parameters(url, "postmeter events")
        self._exchange = exchange
        self._confirm_timeout_seconds = confirm_timeout_seconds
        self._one_at_a_time = threading.Lock()
        self._connection_lock = threading.Lock()
        self._wanted = threading.Event()
        self._closed = threading.Event()
        self._request: _Request | None = None
        self._connection: Any = None
        self._channel: Any = None
        self._complained = False
        self._next_tag = 1
        self._pending: dict[int, tuple[_Request, int]] = {}
        self._thread = threading.Thread(target=self._work, name="events", daemon=True)
        self._thread.start()

    def publish(self, batch: Sequence[Event]) -> list[bool]:
        """Publish and wait for the confirms, at most ``confirm_timeout_seconds``.

        Returns for each event whether RabbitMQ has confirmed it; raises nothing. May be called
        from any thread; one batch is under way at a time.
        """
        if not batch:
            return []
        request = _Request(batch, [False] * len(batch), len(batch))
        with self._one_at_a_time:
            self._request = request
            self._wanted.set()
            self._in_thread(self._send)
            request.done.wait(self._confirm_timeout_seconds)
            self._request = None
        return list(request.confirmed)

    def close(self) -> None:
        """End the thread and its connection; safe to call twice."""
        self._closed.set()
        self._wanted.set()
        self._in_thread(self._close_connection)
        self._thread.join(self._confirm_timeout_seconds)

    def _in_thread(self, callback: Any) -> None:
        """Run in the connection's thread, where there is a connection."""
        with self._connection_lock:
            if self._connection is not None:
                self._connection.ioloop.add_callback_threadsafe(callback)

    def _work(self) -> None:
        """Connect whenever there is something to publish; each turn is one connection's life."""
        while True:
            self._wanted.wait()
            if self._closed.is_set():
                return
            started = time.monotonic()
            connection: Any = pika.SelectConnection(
                self._parameters,
                on_open_callback=self._on_connected,
                on_open_error_callback=self._on_lost,
                on_close_callback=self._on_lost,
            )
            with self._connection_lock:
                self._connection = connection
            try:
                connection.ioloop.start()
            except Exception:
                logger.exception("the connection for events broke")
            self._forget_connection()
            self._wanted.clear()
            if self._request is not None or self._closed.is_set():
                self._wanted.set()
            if time.monotonic() - started < RECONNECT_PAUSE_SECONDS:
                self._closed.wait(RECONNECT_PAUSE_SECONDS)

    def _forget_connection(self) -> None:
        """Answer everything unconfirmed; tags mean nothing on the next channel."""
        with self._connection_lock:
            connection, self._connection, self._channel = self._connection, None, None
            connection.ioloop.close()
        pending, self._pending, self._next_tag = self._pending, {}, 1
        for request, index in pending.values():
            request.answer(index, ok=False)

    def _on_connected(self, connection: Any) -> None:
        connection.channel(on_open_callback=self._on_channel)

    def _on_channel(self, channel: Any) -> None:
        channel.add_on_close_callback(self._on_channel_closed)
        channel.exchange_declare(self._exchange, exchange_type="topic", durable=True)
        channel.confirm_delivery(self._on_confirm, callback=lambda _frame: self._on_ready(channel))

    def _on_ready(self, channel: Any) -> None:
        self._channel = channel
        self._complained = False
        self._send()

    def _send(self) -> None:
        """Publish the request at hand, once."""
        request = self._request
        if self._channel is None or request is None or request.sent:
            return
        request.sent = True
        properties = pika.BasicProperties(
            content_type="application/json", delivery_mode=pika.DeliveryMode.Persistent
        )
        for index, (routing_key, body) in enumerate(request.batch):
            self._pending[self._next_tag] = (request, index)
            self._next_tag += 1
            self._channel.basic_publish(self._exchange, routing_key, body, properties)

    def _on_confirm(self, frame: Any) -> None:
        """Note what RabbitMQ confirmed: one tag, or all up to one."""
        method = frame.method
        ok = isinstance(method, pika.spec.Basic.Ack)
        tag = method.delivery_tag
        tags = [one for one in self._pending if one <= tag] if method.multiple else [tag]
        for one in tags:
            request, index = self._pending.pop(one)
            request.answer(index, ok=ok)

    def _on_channel_closed(self, _channel: Any, reason: Exception) -> None:
        self._channel = None
        self._complain("RabbitMQ refuses events: %s", reason)
        self._close_connection()

    def _close_connection(self) -> None:
        if self._connection is not None and self._connection.is_open:
            self._connection.close()

    def _on_lost(self, connection: Any, reason: Exception | str) -> None:
        self._complain("no connection for events: %s", reason)
        connection.ioloop.stop()

    def _complain(self, sentence: str, reason: BaseException | str) -> None:
        """Log why events cannot be published: once, until they can be again."""
        if not self._complained and not self._closed.is_set():
            self._complained = True
            text = describe(reason) if isinstance(reason, BaseException) else reason
            logger.warning(sentence, text)
