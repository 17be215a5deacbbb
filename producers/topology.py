"""The queues and the exchange, declared from here alone: names, arguments, prefix.

Every process that declares must ask for the same arguments, or RabbitMQ refuses (406).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind = Literal["send", "batch", "compose"]
QueueType = Literal["quorum", "classic"]

#: Returns of a message before RabbitMQ gives up on it. Each time that intake is suspended counts
#: (RabbitMQ 4.0 to 4.2), so a ledger that is away for days must not use it up.
DELIVERY_LIMIT: Final = 100_000
_ACTORS: Final[dict[Kind, str]] = {"send": "send", "compose": "send", "batch": "batch"}


@dataclass(frozen=True, slots=True)
class Topology:
    """Names and arguments of everything Postmeter has in RabbitMQ.

    Attributes:
        prefix: put before every name, so that tests and demos never touch another's queues.
        queue_type: ``quorum`` or ``classic``.
    """

    prefix: str = ""
    queue_type: QueueType = "quorum"

    def __post_init__(self) -> None:
        if self.queue_type not in ("quorum", "classic"):
            raise ValueError(f"queue type {self.queue_type!r}: use quorum or classic")

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Topology:
        """What ``POSTMETER_QUEUE_PREFIX`` and ``POSTMETER_QUEUE_TYPE`` ask for.

        Raises:
            ValueError: an unknown queue type.
        """
        queue_type: Any = environ.get("POSTMETER_QUEUE_TYPE", "quorum")
        return cls(environ.get("POSTMETER_QUEUE_PREFIX", ""), queue_type)

    @property
    def send(self) -> str:
        """The queue of single sends and of compositions."""
        return f"{self.prefix}postmeter.send"

    @property
    def batch(self) -> str:
        """The queue of batch jobs."""
        return f"{self.prefix}postmeter.batch"

    @property
    def dead(self) -> str:
        """Where RabbitMQ puts what could not even be recorded; no time limit."""
        return f"{self.prefix}postmeter.dead"

    @property
    def events(self) -> str:
        """The topic exchange of outcomes: ``sent.<company>.<kind>``."""
        return f"{self.prefix}postmeter.events"

    @property
    def queues(self) -> tuple[str, str]:
        """The two queues that jobs are published to."""
        return self.send, self.batch

    def queue_for(self, kind: Kind) -> str:
        """The queue that a job of this kind goes to."""
        return self.batch if kind == "batch" else self.send

    def arguments(self, queue: str) -> dict[str, Any]:
        """The arguments a queue is declared with."""
        quorum: dict[str, Any] = {"x-queue-type": "quorum"} if self.queue_type == "quorum" else {}
        if queue == self.dead:
            return quorum
        dead_letters = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": self.dead}
        if not quorum:
            return dead_letters
        return {
            **quorum,
            **dead_letters,
            # Dead-lettering that itself waits for a confirm; it needs reject-publish.
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
            "x-delivery-limit": DELIVERY_LIMIT,
        }


def actor_for(kind: Kind) -> str:
    """The Dramatiq actor that a job of this kind is for."""
    return _ACTORS[kind]


def declare(channel: Any, topology: Topology) -> None:
    """Declare all of it on a blocking pika channel; what exists already is left as it is.

    Raises:
        pika.exceptions.ChannelClosedByBroker: it exists with other arguments (406).
    """
    for queue in (topology.dead, *topology.queues):
        channel.queue_declare(queue, durable=True, arguments=topology.arguments(queue))
    channel.exchange_declare(topology.events, exchange_type="topic", durable=True)
