"""What the broker tests share: a worker process inside the test, and actors that record."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from producers.topology import Topology, declare
from tests.support.rabbitmq import QUEUE_TYPE, RabbitServer, unique_prefix
from tests.support.waiting import GENEROUS_SECONDS
from worker.broker.broker import PostmeterBroker
from worker.broker.intake import Intake
from worker.broker.launcher import WorkerProcess
from worker.broker.sources import rabbitmq_source

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping

    from dramatiq.middleware import Middleware

    from producers.topology import QueueType
    from worker.broker.message import Taken

    Run = Callable[[bytes, bool], Awaitable[None]]


@dataclass
class Ran:
    """What an actor saw, and what failed."""

    envelopes: list[bytes] = field(default_factory=list)
    redelivered: list[bytes] = field(default_factory=list)
    failures: list[tuple[Taken, Exception]] = field(default_factory=list)
    ledger_errors: list[Exception] = field(default_factory=list)

    def count(self, envelope: bytes) -> int:
        """How often an envelope was run."""
        return self.envelopes.count(envelope)


@dataclass
class Bench:
    """A running worker process and what it did."""

    process: WorkerProcess
    broker: PostmeterBroker
    intake: Intake
    ran: Ran


@contextlib.contextmanager
def fresh_topology(server: RabbitServer, queue_type: QueueType = QUEUE_TYPE) -> Iterator[Topology]:
    """Queues of one test alone, gone afterwards."""
    topology = Topology(unique_prefix("broker"), queue_type)
    with server.channel() as channel:
        declare(channel, topology)
    try:
        yield topology
    finally:
        server.delete_queues(*topology.queues, topology.dead)
        with server.channel() as channel:
            channel.exchange_delete(topology.events)


@contextlib.asynccontextmanager
async def worker(
    server: RabbitServer,
    topology: Topology,
    run: Run | None = None,
    *,
    url: str | None = None,
    prefetch: int = 50,
    middleware: Iterable[Middleware] = (),
    on_failure: Callable[[Taken, Exception], Awaitable[None]] | None = None,
) -> AsyncIterator[Bench]:
    """Postmeter's broker, consumers and dispatch on a test's event loop."""
    intake = Intake()
    actors = {"send": topology.send, "batch": topology.batch}
    sources = {
        queue: rabbitmq_source(
            url or server.url,
            queue,
            topology=topology,
            actor_name=name,
            prefetch=prefetch,
            intake=intake,
        )
        for name, queue in actors.items()
    }
    broker = PostmeterBroker(sources, intake=intake, middleware=middleware)
    async with started(broker, actors, Ran(), run, on_failure=on_failure) as bench:
        yield bench


@contextlib.asynccontextmanager
async def started(
    broker: PostmeterBroker,
    actors: Mapping[str, str],
    ran: Ran,
    run: Run | None = None,
    *,
    on_failure: Callable[[Taken, Exception], Awaitable[None]] | None = None,
    idle_timeout_ms: int = 200,
) -> AsyncIterator[Bench]:
    """A worker process over a broker, whose actors (name to queue) record what they run."""

    async def actor(*, envelope: bytes, redelivered: bool) -> None:
        ran.envelopes.append(envelope)
        if redelivered:
            ran.redelivered.append(envelope)
        if run is not None:
            await run(envelope, redelivered)

    async def failed(message: Taken, error: Exception) -> None:
        ran.failures.append((message, error))
        if on_failure is not None:
            await on_failure(message, error)

    for name, queue in actors.items():
        broker.register(actor, actor_name=name, queue_name=queue)
    process = WorkerProcess(
        broker,
        on_failure=failed,
        on_ledger_unavailable=ran.ledger_errors.append,
        grace_seconds=5.0,
        idle_timeout_ms=idle_timeout_ms,
    )
    process.start()
    try:
        yield Bench(process, broker, broker.intake, ran)
    finally:
        await process.drain()


def publish(server: RabbitServer, queue: str, bodies: Iterable[bytes]) -> None:
    """Publish raw bodies with confirms."""
    import pika

    with server.channel() as channel:
        channel.confirm_delivery()
        for body in bodies:
            channel.basic_publish(
                "", queue, body, pika.BasicProperties(delivery_mode=2), mandatory=True
            )


def envelope(queue: str, actor: str, *, options: dict[str, Any] | None = None) -> bytes:
    """A well-formed Dramatiq envelope with an id of its own."""
    message_id = str(uuid.uuid4())
    return json.dumps(
        {
            "queue_name": queue,
            "actor_name": actor,
            "args": [],
            "kwargs": {"job": {"id": message_id}},
            "options": options or {},
            "message_id": message_id,
            "message_timestamp": int(time.time() * 1000),
        }
    ).encode()


async def until(condition: Callable[[], bool], timeout_seconds: float = GENEROUS_SECONDS) -> None:
    """Wait until a condition holds.

    Raises:
        AssertionError: it did not within the time-out.
    """
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.01)


async def empties(
    server: RabbitServer, *queues: str, timeout_seconds: float = GENEROUS_SECONDS
) -> None:
    """Wait until nothing lies ready in the queues.

    Raises:
        AssertionError: something still does.
    """
    deadline = time.monotonic() + timeout_seconds
    for queue in queues:
        while await asyncio.to_thread(server.queue_depth, queue):
            assert time.monotonic() < deadline, f"{queue} is not empty"
            await asyncio.sleep(0.05)
