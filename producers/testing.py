"""A producer for an application's own tests: the same checks, no broker, an outbox to look into."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from .client import Producer
from .envelope import decode
from .errors import ProducerClosed
from .topology import Topology

if TYPE_CHECKING:
    from .job import Job
    from .sender import Sender


class InMemoryProducer(Producer):
    """Publishes into ``outbox``: every job as a worker would read it, in order.

    The same job published twice is there twice, as it would be in RabbitMQ.

    Attributes:
        outbox: the jobs published so far.
    """

    def __init__(self, *, company: str | None = None, user: str | None = None) -> None:
        self.outbox: list[Job] = []
        super().__init__(company=company, user=user, topology=Topology())

    def clear(self) -> None:
        """Empty the outbox."""
        self.outbox.clear()

    def _open(self, url: str, confirm_timeout_seconds: float, *, declare: bool) -> Sender:  # noqa: ARG002 there is nothing to connect to
        return _MemorySender(self.outbox)


class _MemorySender:
    """Sender and stream in one: what is put is confirmed."""

    def __init__(self, outbox: list[Job]) -> None:
        self._outbox = outbox
        self._lock = threading.Lock()
        self._closed = False

    def send(self, queue: str, job_id: str, body: bytes) -> None:  # noqa: ARG002 the id is in the body too
        if self._closed:
            raise ProducerClosed("this producer is closed")
        job = decode(body, queue)  # through the wire form, so that what is tested is what is sent
        with self._lock:
            self._outbox.append(job)

    def stream(self, queue: str) -> _MemoryStream:
        return _MemoryStream(self, queue)

    def close(self) -> None:
        self._closed = True


class _MemoryStream:
    def __init__(self, sender: _MemorySender, queue: str) -> None:
        self._sender = sender
        self._queue = queue
        self.confirmed = 0

    def first_unconfirmed(self) -> int | None:
        return None

    def put(self, index: int, job_id: str, body: bytes) -> None:  # noqa: ARG002 nothing is ever unconfirmed
        self._sender.send(self._queue, job_id, body)
        self.confirmed += 1

    def finish(self) -> None:
        """Nothing waits."""
