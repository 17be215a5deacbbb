"""Faults: a message is acknowledged although nothing of it was kept, or while it should not run."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from dramatiq import Middleware

from tests.integration.broker.harness import envelope, publish, until, worker
from tests.integration.broker.relay import Relay
from tests.integration.broker.stock import stock_worker
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from producers.topology import Topology
    from tests.support.rabbitmq import RabbitServer
    from worker.broker.message import Taken

pytestmark = pytest.mark.rabbitmq


class LimiterWithoutStore(Middleware):
    """A limiter in the style of Dramatiq's, whose store is away."""

    def before_process_message(self, broker: object, message: object) -> None:
        """Fail as a client of such a store fails."""
        raise ConnectionError("the limiter's store is away")


def test_stock_loses_a_message_whose_retry_cannot_be_published(rabbitmq: RabbitServer) -> None:
    """The retry's publish fails, Dramatiq swallows that and acknowledges: nothing is left."""
    runs: list[int] = []

    def deliver(number: int) -> None:
        relay.refusing = True  # from now on the broker is at its limit of connections
        runs.append(number)
        raise RuntimeError("the server said 451")

    with Relay(rabbitmq) as relay, stock_worker(rabbitmq, deliver, url=relay.url) as stock:
        stock.actor.send(1)
        wait_until(lambda: runs == [1])
        stock.stop()  # which waits for what is under way
        depths = [rabbitmq.queue_depth(stock.queue + end) for end in ("", ".DQ", ".XQ")]
    assert depths == [0, 0, 0]


def test_ours_keeps_a_message_whose_failure_cannot_be_recorded(
    rabbitmq: RabbitServer, topology: Topology
) -> None:
    """What fails is recorded before it is acknowledged; not recorded, it stays in its queue."""
    body = envelope(topology.send, "send")
    publish(rabbitmq, topology.send, [body])

    async def deliver(_envelope: bytes, _redelivered: bool) -> None:
        raise RuntimeError("a fault of ours")

    async def cannot_record(_message: Taken, _error: Exception) -> None:
        raise OSError("disk full")

    async def scenario() -> None:
        async with worker(rabbitmq, topology, deliver, on_failure=cannot_record) as bench:
            await until(lambda: len(bench.ran.failures) == 1)

    asyncio.run(scenario())
    assert rabbitmq.messages(topology.send) == [body]


def test_stock_runs_the_actor_when_a_limiter_fails(rabbitmq: RabbitServer) -> None:
    """A hook that raises is logged, and the mail goes out unlimited."""
    runs: list[int] = []
    with stock_worker(rabbitmq, runs.append, middleware=[LimiterWithoutStore()]) as stock:
        stock.actor.send(1)
        wait_until(lambda: runs == [1])
    assert runs == [1]


def test_ours_does_not_run_the_actor_when_a_hook_fails(
    rabbitmq: RabbitServer, topology: Topology
) -> None:
    """Hooks fail closed: nothing runs, and the message stays in its queue."""
    body = envelope(topology.send, "send")
    publish(rabbitmq, topology.send, [body])

    async def scenario() -> None:
        async with worker(rabbitmq, topology, middleware=[LimiterWithoutStore()]) as bench:
            await until(lambda: rabbitmq.queue_depth(topology.send) == 0)
            await asyncio.sleep(0.5)
            assert not bench.ran.envelopes
            assert not bench.ran.failures

    asyncio.run(scenario())
    assert rabbitmq.messages(topology.send) == [body]
