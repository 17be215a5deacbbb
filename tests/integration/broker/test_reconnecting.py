"""The broker goes away and comes back: nothing is lost, and work goes on at once."""

from __future__ import annotations

import asyncio
import math
import random
import time
from typing import TYPE_CHECKING

import pika.exceptions
import pytest

from tests.integration.broker.harness import (
    Bench,
    empties,
    envelope,
    fresh_topology,
    publish,
    until,
    worker,
)
from tests.integration.broker.relay import Relay
from tests.support.rabbitmq import QUEUE_TYPES, RabbitServer
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from producers.topology import QueueType, Topology

pytestmark = pytest.mark.rabbitmq


async def _work_through(
    server: RabbitServer, topology: Topology, disturb: Callable[[Bench], None], *, url: str
) -> Bench:
    """Run a backlog with acknowledgements always in flight, disturbed once half-way."""
    bodies = [envelope(topology.batch, "batch") for _ in range(2000)]
    publish(server, topology.batch, bodies)

    async def deliver(_envelope: bytes, _redelivered: bool) -> None:
        await asyncio.sleep(random.uniform(0.0, 0.02))

    async with worker(server, topology, deliver, url=url, prefetch=40) as bench:
        await until(lambda: len(bench.ran.envelopes) >= 600)
        await asyncio.to_thread(disturb, bench)
        await until(lambda: set(bench.ran.envelopes) == set(bodies))
        await until(lambda: bench.process.dispatcher.in_flight == 0)
        await empties(server, topology.batch, topology.send)
        assert not bench.ran.failures
    return bench


def test_a_cut_connection_loses_nothing(rabbitmq: RabbitServer, topology: Topology) -> None:
    """After a cut every message runs at least once; only what was in hand then runs twice."""

    async def scenario(relay: Relay) -> Bench:
        return await _work_through(rabbitmq, topology, lambda _: relay.cut(), url=relay.url)

    with Relay(rabbitmq) as relay:
        bench = asyncio.run(scenario(relay))
    assert 2000 <= len(bench.ran.envelopes) <= 2000 + 2 * 40
    assert rabbitmq.queue_depth(topology.batch) == 0


@pytest.fixture(scope="module")
def mortal() -> Iterator[RabbitServer]:
    """A server that tests may stop and kill; the shared one goes on serving others."""
    with RabbitServer() as server:
        yield server


# Where both types are tested one after the other, the second is left to the slow tests.
@pytest.mark.parametrize(
    "queue_type",
    [QUEUE_TYPES[0], *(pytest.param(each, marks=pytest.mark.slow) for each in QUEUE_TYPES[1:])],
)
@pytest.mark.parametrize("how", ["restart", "kill"])
def test_a_broker_restart_in_mid_stream_loses_nothing(
    rabbitmq: RabbitServer, mortal: RabbitServer, how: str, queue_type: QueueType
) -> None:
    """The server stops, politely or not, with acknowledgements in flight, and starts again."""
    server = mortal
    with fresh_topology(server, queue_type) as topology:

        def disturb(bench: Bench) -> None:
            if how == "kill":
                server.kill()
            else:
                server.stop()
            wait_until(lambda: bool(bench.broker.disconnected()))
            server.start()

        bench = asyncio.run(_work_through(server, topology, disturb, url=server.url))
        assert server.queue_depth(topology.batch) == 0
    assert len(bench.ran.envelopes) >= 2000


def test_work_goes_on_within_a_second_of_a_cut(rabbitmq: RabbitServer) -> None:
    """Reconnecting takes no fixed pause of seconds: the best of five cuts costs next to nothing."""

    async def scenario(relay: Relay, topology: Topology) -> float:
        best = math.inf
        async with worker(rabbitmq, topology, url=relay.url) as bench:
            for cuts in range(1, 6):
                await until(lambda: not bench.broker.disconnected())
                relay.cut()
                publish(rabbitmq, topology.send, [envelope(topology.send, "send")])
                published = time.monotonic()
                await until(lambda runs=cuts: len(bench.ran.envelopes) >= runs)  # type: ignore[misc]  # mypy cannot infer a lambda with a default
                best = min(best, time.monotonic() - published)
        return best

    with Relay(rabbitmq) as relay, fresh_topology(rabbitmq) as topology:
        assert asyncio.run(scenario(relay, topology)) < 1.0


def exists(server: RabbitServer, queue: str) -> bool:
    """Whether there is such a queue now."""
    try:
        server.queue_depth(queue)
    except pika.exceptions.ChannelClosedByBroker:
        return False
    return True


def test_a_deleted_queue_is_declared_again(rabbitmq: RabbitServer) -> None:
    """RabbitMQ cancels the consumer of a deleted queue; ours brings the queue back."""

    async def scenario(topology: Topology) -> None:
        async with worker(rabbitmq, topology) as bench:
            await until(lambda: not bench.broker.disconnected())
            rabbitmq.delete_queues(topology.send)
            await until(lambda: exists(rabbitmq, topology.send))
            publish(rabbitmq, topology.send, [envelope(topology.send, "send")])
            await until(lambda: len(bench.ran.envelopes) == 1)

    with fresh_topology(rabbitmq) as topology:
        asyncio.run(scenario(topology))
        assert rabbitmq.queue_depth(topology.send) == 0


def test_what_was_left_comes_again(rabbitmq: RabbitServer, topology: Topology) -> None:
    """A message whose failure could not be recorded is given back within seconds and run again."""
    publish(rabbitmq, topology.send, [envelope(topology.send, "send")])
    recorded: list[object] = []

    async def deliver(_envelope: bytes, _redelivered: bool) -> None:
        raise RuntimeError("a fault of ours")

    async def record(message: object, _error: Exception) -> None:
        recorded.append(message)
        if len(recorded) == 1:
            raise OSError("disk full")

    async def scenario() -> None:
        async with worker(rabbitmq, topology, deliver, on_failure=record) as bench:
            await until(lambda: len(recorded) == 2)
            assert bench.ran.redelivered
            await empties(rabbitmq, topology.send)

    asyncio.run(scenario())
    assert rabbitmq.queue_depth(topology.send) == 0
