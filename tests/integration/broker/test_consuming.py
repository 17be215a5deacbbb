"""Messages from RabbitMQ to actors and back, without a fault."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.integration.broker.harness import empties, envelope, publish, until, worker

if TYPE_CHECKING:
    from producers.topology import Topology
    from tests.support.rabbitmq import RabbitServer

pytestmark = pytest.mark.rabbitmq


def test_every_message_runs_once_and_both_queues_empty(
    rabbitmq: RabbitServer, topology: Topology
) -> None:
    """A backlog in both queues runs once each, byte for byte as published, and is acknowledged."""
    sends = [envelope(topology.send, "send") for _ in range(300)]
    batch = [envelope(topology.batch, "batch") for _ in range(300)]
    publish(rabbitmq, topology.send, sends)
    publish(rabbitmq, topology.batch, batch)

    async def scenario() -> None:
        async with worker(rabbitmq, topology) as bench:
            await until(lambda: len(bench.ran.envelopes) == 600)
            assert not bench.broker.disconnected()
        assert sorted(bench.ran.envelopes) == sorted(sends + batch)
        assert not bench.ran.redelivered
        assert not bench.ran.failures

    asyncio.run(scenario())
    assert rabbitmq.queue_depth(topology.send) == rabbitmq.queue_depth(topology.batch) == 0


def test_no_more_than_prefetch_is_in_flight(rabbitmq: RabbitServer, topology: Topology) -> None:
    """What runs at once in a process is bounded by the prefetch, though there are no threads."""
    publish(rabbitmq, topology.send, [envelope(topology.send, "send") for _ in range(60)])
    running = peak = 0

    async def slow(_envelope: bytes, _redelivered: bool) -> None:
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        await asyncio.sleep(0.02)
        running -= 1

    async def scenario() -> None:
        async with worker(rabbitmq, topology, slow, prefetch=7) as bench:
            await until(lambda: len(bench.ran.envelopes) == 60)

    asyncio.run(scenario())
    assert peak == 7


def test_a_suspended_intake_gives_everything_back_at_the_head(
    rabbitmq: RabbitServer, topology: Topology
) -> None:
    """Suspended, a worker holds nothing; resumed, it takes the same messages first, in order."""
    bodies = [envelope(topology.send, "send") for _ in range(30)]
    publish(rabbitmq, topology.send, bodies)
    ledger_is_back = asyncio.Event

    async def scenario() -> None:
        back = ledger_is_back()

        async def wait(_envelope: bytes, _redelivered: bool) -> None:
            await back.wait()

        async with worker(rabbitmq, topology, wait, prefetch=10) as bench:
            await until(lambda: len(bench.ran.envelopes) == 10)
            bench.intake.suspend("the ledger is away")
            await until(lambda: not _unacknowledged(rabbitmq, topology.send, 30))
            await asyncio.sleep(0.3)
            assert len(bench.ran.envelopes) == 10
            back.set()  # they end now, and their acknowledgements must be dropped
            await until(lambda: bench.process.dispatcher.in_flight == 0)
            assert rabbitmq.queue_depth(topology.send) == 30
            bench.intake.resume()
            await until(lambda: len(bench.ran.envelopes) == 40)
            assert bench.ran.envelopes[10:] == bodies
            assert bench.ran.redelivered == bodies[:10]
            await empties(rabbitmq, topology.send)

    asyncio.run(scenario())
    assert rabbitmq.queue_depth(topology.send) == 0


def _unacknowledged(server: RabbitServer, queue: str, published: int) -> int:
    return published - server.queue_depth(queue)
