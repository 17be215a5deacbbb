"""What the two ways in have in common: RabbitMQ (``amqp``) and the embedded inbox (``embedded``)."""

from __future__ import annotations

from typing import Protocol


class Stream(Protocol):
    """Many messages to one queue with their confirms pipelined; for one thread."""

    @property
    def confirmed(self) -> int:
        """Exactly how many messages the broker has confirmed so far."""

    def first_unconfirmed(self) -> int | None:
        """The lowest index put in and not confirmed, or None."""

    def put(self, index: int, job_id: str, body: bytes) -> None:
        """Send one more; may wait until enough of the earlier ones are confirmed.

        Raises:
            NotConfirmed: the stream is broken; what is not confirmed may or may not be stored.
        """

    def finish(self) -> None:
        """Wait until everything put in is confirmed.

        Raises:
            NotConfirmed: as ``put``.
        """


class Sender(Protocol):
    """A way to hand messages over so that they are stored durably."""

    def send(self, queue: str, job_id: str, body: bytes) -> None:
        """Hand one message over and wait for the confirm.

        Raises:
            NotConfirmed: there was none in time.
            TopologyMismatch: the queues exist with other arguments.
            ProducerClosed: this was closed.
        """

    def stream(self, queue: str) -> Stream:
        """Begin to hand many messages over to one queue.

        Raises:
            NotConfirmed, TopologyMismatch, ProducerClosed: as ``send``.
        """

    def close(self) -> None:
        """Let go of the connection; safe to call twice."""
