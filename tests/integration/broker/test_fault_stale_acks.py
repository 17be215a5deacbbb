"""Fault: after a reconnect, an acknowledgement removes somebody else's message."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from typing import TYPE_CHECKING

import dramatiq.worker
import pytest

from tests.integration.broker.harness import envelope, publish, until, worker
from tests.integration.broker.relay import Relay
from tests.integration.broker.stock import stock_worker
from tests.support.waiting import GENEROUS_SECONDS, wait_until

if TYPE_CHECKING:
    from producers.topology import Topology
    from tests.support.rabbitmq import RabbitServer

pytestmark = pytest.mark.rabbitmq


def test_stock_acknowledges_a_message_that_never_finished(
    rabbitmq: RabbitServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Delivery tags restart with the channel, and Dramatiq acks by tag: a message is lost."""
    monkeypatch.setattr(dramatiq.worker, "CONSUMER_RESTART_DELAY_SECS", 0.1)
    started: list[int] = []
    finish = {1: threading.Event(), 2: threading.Event()}

    def deliver(number: int) -> None:
        started.append(number)
        finish[number].wait(GENEROUS_SECONDS)

    with (
        Relay(rabbitmq) as relay,
        stock_worker(rabbitmq, deliver, url=relay.url, threads=1) as stock,
    ):
        stock.actor.send(1)
        stock.actor.send(2)
        wait_until(lambda: started == [1] and rabbitmq.queue_depth(stock.queue) == 0)
        relay.refusing = True
        relay.cut()
        with rabbitmq.channel() as other:
            # Another worker gets the first message while this one is away.
            wait_until(lambda: other.basic_get(stock.queue)[0] is not None)
            relay.refusing = False
            wait_until(lambda: rabbitmq.queue_depth(stock.queue) == 0)
            finish[1].set()
            wait_until(lambda: started[:2] == [1, 2])  # the second begins, and never ends
            relay.refusing = True
            relay.cut()
        wait_until(lambda: rabbitmq.queue_depth(stock.queue) > 0)
        time.sleep(0.5)
        left = rabbitmq.messages(stock.queue)
        relay.refusing = False
        finish[2].set()
    # Only the other worker's message has come back.
    assert [json.loads(body)["args"] for body in left] == [[1]]


def test_ours_acknowledges_only_on_the_channel_it_came_from(
    rabbitmq: RabbitServer, topology: Topology
) -> None:
    """The same story: the late acknowledgement is dropped, and both messages are still there."""
    first, second = (envelope(topology.send, "send") for _ in range(2))

    async def scenario(relay: Relay) -> None:
        finish = {first: asyncio.Event(), second: asyncio.Event()}

        async def deliver(body: bytes, _redelivered: bool) -> None:
            await finish[body].wait()

        publish(rabbitmq, topology.send, [first, second])
        async with worker(rabbitmq, topology, deliver, url=relay.url, prefetch=2) as bench:
            await until(lambda: bench.ran.envelopes == [first, second])
            relay.refusing = True
            relay.cut()
            with rabbitmq.channel() as other:
                await until(lambda: other.basic_get(topology.send)[0] is not None)
                relay.refusing = False
                await until(lambda: bench.ran.count(second) == 2)
                finish[first].set()
                await asyncio.sleep(0.5)  # time for an acknowledgement that must not be sent
                relay.refusing = True
                relay.cut()
            await until(lambda: rabbitmq.queue_depth(topology.send) == 2)
            finish[second].set()
        assert sorted(rabbitmq.messages(topology.send)) == sorted([first, second])

    with Relay(rabbitmq) as relay:
        asyncio.run(scenario(relay))
