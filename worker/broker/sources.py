"""The sources a worker may have: RabbitMQ, the embedded inbox, the ledger."""

from __future__ import annotations

import uuid
from functools import partial
from typing import TYPE_CHECKING

from producers.topology import declare
from worker.broker.broker import Source
from worker.broker.consumer import QueueConsumer
from worker.broker.embedded import InboxSession
from worker.broker.rabbitmq import RabbitmqSession
from worker.broker.waiting import WaitingConsumer

if TYPE_CHECKING:
    from collections.abc import Callable

    from producers.inbox import Inbox
    from producers.topology import Topology
    from worker.broker.consumer import Session
    from worker.broker.intake import Intake
    from worker.broker.waiting import WaitingSource


def rabbitmq_source(
    url: str, queue: str, *, topology: Topology, actor_name: str, prefetch: int, intake: Intake
) -> Source:
    """A queue of RabbitMQ, declared with everything else of the topology on each connection."""

    def connect(prefetch: int) -> Session:
        return RabbitmqSession(
            url, queue, prefetch=prefetch, declare=partial(declare, topology=topology)
        )

    return _queue_source(connect, queue, actor_name=actor_name, prefetch=prefetch, intake=intake)


def inbox_source(
    inbox: Inbox, queue: str, *, actor_name: str, prefetch: int, intake: Intake
) -> Source:
    """A queue of the embedded inbox, taken from by one consumer."""
    consumer_id = str(uuid.uuid4())
    return _queue_source(
        lambda prefetch: InboxSession(inbox, queue, prefetch=prefetch, consumer_id=consumer_id),
        queue,
        actor_name=actor_name,
        prefetch=prefetch,
        intake=intake,
    )


def ledger_source(waiting: WaitingSource, *, intake: Intake) -> Source:
    """What waits in the ledger; how much of it is in flight is the pump's to say."""
    return Source(
        prefetch=1,
        open=lambda _, timeout_ms: WaitingConsumer(
            waiting, intake, timeout_seconds=timeout_ms / 1000
        ),
    )


def _queue_source(
    connect: Callable[[int], Session],
    queue: str,
    *,
    actor_name: str,
    prefetch: int,
    intake: Intake,
) -> Source:
    def open_consumer(prefetch: int, timeout_ms: int) -> QueueConsumer:
        return QueueConsumer(
            lambda: connect(prefetch),
            queue_name=queue,
            actor_name=actor_name,
            intake=intake,
            timeout_seconds=timeout_ms / 1000,
        )

    return Source(prefetch=prefetch, open=open_consumer)
