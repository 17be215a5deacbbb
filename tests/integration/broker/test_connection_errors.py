"""Why there is no connection: one line for the operator, without the password."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import pytest

from producers.topology import QueueType, Topology, declare
from tests.integration.broker.harness import publish, until, worker
from tests.support.rabbitmq import QUEUE_TYPE, RabbitServer, free_port
from tests.support.waiting import wait_until
from worker.broker.rabbitmq import RabbitmqSession
from worker.errors import BrokerUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.rabbitmq


def _reason(url: str, topology: Topology) -> str:
    with pytest.raises(BrokerUnavailable) as raised:
        RabbitmqSession(url, topology.send, prefetch=1, declare=partial(declare, topology=topology))
    reason = str(raised.value)
    assert "\n" not in reason
    return reason


def test_nobody_listens(own_topology: Topology) -> None:
    """A wrong port or a server that is down."""
    url = f"amqp://guest:hunter2@127.0.0.1:{free_port()}/%2F"
    reason = _reason(url, own_topology)
    assert "Connection refused" in reason
    assert "hunter2" not in reason


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda url: url.replace("guest:guest", "guest:hunter2"), "ACCESS_REFUSED"),
        (lambda url: url.replace("%2F", "nowhere"), "vhost nowhere not found"),
    ],
)
def test_the_server_refuses(
    rabbitmq: RabbitServer,
    own_topology: Topology,
    change: Callable[[str], str],
    expected: str,
) -> None:
    """A wrong password, a wrong virtual host: RabbitMQ's own words."""
    reason = _reason(change(rabbitmq.url), own_topology)
    assert expected in reason
    assert "hunter2" not in reason


def test_the_queue_exists_with_other_arguments(
    rabbitmq: RabbitServer, own_topology: Topology
) -> None:
    """Somebody switched the queue type over existing queues: 406, naming the argument."""
    types: dict[QueueType, QueueType] = {"quorum": "classic", "classic": "quorum"}
    other = Topology(own_topology.prefix, types[own_topology.queue_type])
    assert "x-queue-type" in _reason(rabbitmq.url, other)
    assert rabbitmq.queue_depth(own_topology.send) == 0


def test_a_worker_waits_for_a_broker_that_is_not_there_yet(
    rabbitmq: RabbitServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Started before its broker, a worker says so once a queue, and begins when the broker does."""
    with RabbitServer() as server:
        topology = Topology("late.", QUEUE_TYPE)
        server.stop()

        async def scenario() -> None:
            async with worker(server, topology) as bench:
                await until(lambda: len(bench.broker.disconnected()) == 2)
                await asyncio.sleep(1.0)
                assert len(caplog.records) == 2
                await asyncio.to_thread(server.start)
                await until(lambda: not bench.broker.disconnected())
                publish(server, topology.send, [b"first"])
                await until(lambda: bench.ran.envelopes == [b"first"])

        asyncio.run(scenario())
        wait_until(lambda: server.queue_depth(topology.send) == 0)
