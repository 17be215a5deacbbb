"""Fault: an envelope that kills the thread that reads it."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

import pytest

from producers.envelope import decode
from tests.integration.broker.harness import envelope, publish, until, worker
from tests.integration.broker.stock import stock_worker
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from producers.topology import Topology
    from tests.support.rabbitmq import RabbitServer

pytestmark = pytest.mark.rabbitmq


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_four_envelopes_kill_the_four_threads_of_stock(rabbitmq: RabbitServer) -> None:
    """An envelope that names another queue ends a worker thread; after four nothing runs."""
    runs: list[object] = []

    def deliver(job: object) -> None:
        runs.append(job)

    with stock_worker(rabbitmq, deliver, threads=4) as stock:
        stock.actor.send(1)
        wait_until(lambda: runs == [1])
        poison = envelope("elsewhere", "send")
        publish(rabbitmq, stock.queue, [poison] * 4)
        wait_until(lambda: stock.alive_threads() == 0)
        stock.actor.send("good")
        time.sleep(1.0)
        assert "good" not in runs


def test_no_envelope_hurts_ours(rabbitmq: RabbitServer, topology: Topology) -> None:
    """Whatever lies in the queue, its reason is recorded, and a good job runs after it."""
    good = envelope(topology.send, "send")
    poison = [
        b"",
        b"\xff\xfe",
        b"not json",
        b"[]",
        b"[" * 50_000,
        b'{"a": 1' + b"1" * 10_000 + b"}",
        *(envelope("elsewhere", "send") for _ in range(4)),
        *(envelope(topology.send, "no_such_actor") for _ in range(4)),
        _with(good, options=[]),
        _with(good, options={"eta": {}}),
        _with(good, options={"eta": "soon", "throws": 1, "pipe_target": 3}),
        _with(good, args=None),
        _with(good, kwargs=[1]),
        _with(good, actor_name=7),
        _with(good, message_id={"a": 1}),
        _with(good, message_timestamp="yesterday"),
    ]
    publish(rabbitmq, topology.send, poison)

    async def intake(body: bytes, _redelivered: bool) -> None:
        if body != good:
            decode(body, topology.send)

    async def scenario() -> None:
        async with worker(rabbitmq, topology, intake, prefetch=4) as bench:
            await until(lambda: len(bench.ran.failures) == len(poison))
            publish(rabbitmq, topology.send, [good])
            await until(lambda: bench.ran.count(good) == 1)
            assert not bench.process.dead_consumers()
        reasons = [str(error) for _, error in bench.ran.failures]
        assert all(reasons)
        assert not any("\n" in reason for reason in reasons)

    asyncio.run(scenario())
    assert rabbitmq.messages(topology.send) == []


def _with(body: bytes, **changes: object) -> bytes:
    return json.dumps({**json.loads(body), **changes}).encode()
