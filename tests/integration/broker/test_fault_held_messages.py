"""Faults: dead letters that expire, delays that hold messages, time limits that cut into DATA."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

import dramatiq.brokers.rabbitmq
import pytest
from dramatiq.middleware import AsyncIO

from tests.integration.broker.harness import empties, envelope, publish, until, worker
from tests.integration.broker.stock import stock_worker
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from producers.topology import Topology
    from tests.support.rabbitmq import RabbitServer

pytestmark = pytest.mark.rabbitmq

IN_AN_HOUR_MS = 3_600_000


def test_stock_lets_dead_letters_expire(
    rabbitmq: RabbitServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What failed for good is dropped after a time (a week, here half a second), unseen."""
    monkeypatch.setattr(dramatiq.brokers.rabbitmq, "DEAD_MESSAGE_TTL", 500)

    def deliver() -> None:
        raise RuntimeError("the server said 550")

    with stock_worker(rabbitmq, deliver, max_retries=0) as stock:
        stock.actor.send()
        dead = f"{stock.queue}.XQ"
        wait_until(lambda: rabbitmq.queue_depth(dead) == 1)
        wait_until(lambda: rabbitmq.queue_depth(dead) == 0)


def test_our_dead_letters_stay(rabbitmq: RabbitServer, topology: Topology) -> None:
    """What RabbitMQ itself must put aside waits in a queue that has no time limit."""
    body = envelope(topology.send, "send")
    publish(rabbitmq, topology.send, [body])
    with rabbitmq.channel() as channel:
        method, _, _ = channel.basic_get(topology.send)
        channel.basic_reject(method.delivery_tag, requeue=False)
    wait_until(lambda: rabbitmq.queue_depth(topology.dead) == 1)
    time.sleep(1.0)
    assert "x-message-ttl" not in topology.arguments(topology.dead)
    assert rabbitmq.messages(topology.dead) == [body]


def test_stock_holds_delayed_messages_unacknowledged(rabbitmq: RabbitServer) -> None:
    """A delay sits in some worker's memory until due: counted nowhere, and timed out by RabbitMQ."""
    with stock_worker(rabbitmq, print) as stock:
        for _ in range(20):
            stock.actor.send_with_options(delay=IN_AN_HOUR_MS)
        delayed = f"{stock.queue}.DQ"
        wait_until(lambda: sum(_held(thread) for thread in stock.worker.consumers.values()) == 20)
        assert rabbitmq.queue_depth(delayed) == 0
        stock.stop()
        wait_until(lambda: rabbitmq.queue_depth(delayed) == 20)


def test_ours_holds_nothing_whatever_the_envelope_asks(
    rabbitmq: RabbitServer, topology: Topology
) -> None:
    """An eta in the envelope delays nothing: intake has it at once, and it is acknowledged."""
    due = int(time.time() * 1000) + IN_AN_HOUR_MS
    bodies = [envelope(topology.send, "send", options={"eta": due}) for _ in range(20)]
    publish(rabbitmq, topology.send, bodies)

    async def scenario() -> None:
        async with worker(rabbitmq, topology) as bench:
            await until(lambda: len(bench.ran.envelopes) == 20)
        assert sorted(bench.ran.envelopes) == sorted(bodies)

    asyncio.run(scenario())
    assert rabbitmq.messages(topology.send) == []


def test_stock_cuts_into_data(rabbitmq: RabbitServer) -> None:
    """A time limit cancels a delivery between DATA and its reply: sent, and recorded as failed."""
    story: list[str] = []

    async def deliver() -> None:
        story.append("DATA")
        try:
            await asyncio.sleep(5.0)
            story.append("250")
        except asyncio.CancelledError:
            story.append("cut")
            raise

    with stock_worker(rabbitmq, deliver, middleware=[AsyncIO()], max_retries=0) as stock:
        stock.actor.send_with_options(time_limit=500)
        wait_until(lambda: len(story) == 2)
    assert story == ["DATA", "cut"]


def test_ours_never_cuts_into_data(rabbitmq: RabbitServer, topology: Topology) -> None:
    """No limit of time reaches a delivery, and none can be smuggled in by an envelope."""
    story: list[str] = []
    publish(rabbitmq, topology.send, [envelope(topology.send, "send", options={"time_limit": 100})])

    async def deliver(body: bytes, _redelivered: bool) -> None:
        assert json.loads(body)["options"] == {"time_limit": 100}
        story.append("DATA")
        await asyncio.sleep(2.0)
        story.append("250")

    async def scenario() -> None:
        async with worker(rabbitmq, topology, deliver) as bench:
            await until(lambda: story == ["DATA", "250"])
            assert not bench.ran.failures
            await empties(rabbitmq, topology.send)

    asyncio.run(scenario())
    assert rabbitmq.queue_depth(topology.send) == 0


def _held(thread: dramatiq.worker.ConsumerThread) -> int:
    return thread.delay_queue.qsize()
