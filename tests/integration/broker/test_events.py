"""Outcomes on the topic exchange: at least once, and only what RabbitMQ confirmed counts."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.broker.relay import Relay
from tests.support.waiting import wait_until
from worker.broker.events import EventPublisher, NullPublisher

if TYPE_CHECKING:
    from collections.abc import Iterator

    from producers.topology import Topology
    from tests.support.rabbitmq import RabbitServer

pytestmark = pytest.mark.rabbitmq


@contextlib.contextmanager
def _publisher(url: str, exchange: str, **options: Any) -> Iterator[EventPublisher]:
    publisher = EventPublisher(url, exchange, **options)
    try:
        yield publisher
    finally:
        publisher.close()


@pytest.fixture
def listener(rabbitmq: RabbitServer, own_topology: Topology) -> Iterator[str]:
    """A queue bound to every ``sent`` of one company."""
    name = f"{own_topology.prefix}listener"
    with rabbitmq.channel() as channel:
        channel.queue_declare(name, durable=True)
        channel.queue_bind(name, own_topology.events, "sent.acme.*")
    yield name
    rabbitmq.delete_queues(name)


def _batch(count: int) -> list[tuple[str, bytes]]:
    return [("sent.acme.batch", b'{"n": %d}' % number) for number in range(count)]


def test_a_batch_is_published_in_order_and_confirmed(
    rabbitmq: RabbitServer, own_topology: Topology, listener: str
) -> None:
    """Listeners get what they bound, persistent; what nobody listens to counts as published."""
    with _publisher(rabbitmq.url, own_topology.events) as publisher:
        assert publisher.publish(_batch(500)) == [True] * 500
        assert publisher.publish([("dead.other.send", b"{}")]) == [True]
        assert publisher.publish([]) == []
    with rabbitmq.channel() as channel:
        method, properties, body = channel.basic_get(listener, auto_ack=True)
    assert (method.routing_key, properties.delivery_mode, body) == (
        "sent.acme.batch",
        2,
        b'{"n": 0}',
    )
    assert rabbitmq.messages(listener) == [body for _, body in _batch(500)[1:]]


def test_confirms_are_pipelined(rabbitmq: RabbitServer, own_topology: Topology) -> None:
    """Many events take no round trip each: they go far faster together than one by one."""
    best = 0.0
    with _publisher(rabbitmq.url, own_topology.events) as publisher:
        publisher.publish(_batch(1))
        for _ in range(3):
            started = time.monotonic()
            assert all(publisher.publish(_batch(1)) == [True] for _ in range(200))
            one_by_one = (time.monotonic() - started) / 200
            started = time.monotonic()
            assert all(publisher.publish(_batch(3000)))
            best = max(best, one_by_one / ((time.monotonic() - started) / 3000))
    assert best > 2.0


def test_it_connects_again_after_a_cut(
    rabbitmq: RabbitServer, own_topology: Topology, listener: str
) -> None:
    """What is published after the connection was lost arrives all the same."""
    with (
        Relay(rabbitmq) as relay,
        _publisher(relay.url, own_topology.events) as publisher,
    ):
        assert publisher.publish(_batch(1)) == [True]
        relay.cut()
        wait_until(lambda: publisher.publish(_batch(1)) == [True])
    assert rabbitmq.queue_depth(listener) >= 2


def test_without_a_confirm_an_event_is_not_published(
    rabbitmq: RabbitServer, own_topology: Topology, caplog: pytest.LogCaptureFixture
) -> None:
    """A broker that is away answers False within the time-out; nothing is raised, one line logged."""
    with (
        Relay(rabbitmq) as relay,
        _publisher(relay.url, own_topology.events, confirm_timeout_seconds=1.2) as publisher,
    ):
        relay.refusing = True
        assert publisher.publish(_batch(3)) == [False] * 3
        assert publisher.publish(_batch(1)) == [False]
        assert len(caplog.records) == 1
        relay.refusing = False
        wait_until(lambda: publisher.publish(_batch(3)) == [True] * 3)


def test_a_cut_in_the_middle_confirms_nothing_that_was_lost(
    rabbitmq: RabbitServer, own_topology: Topology, listener: str
) -> None:
    """Every event reported as published is in the listener's queue."""
    with Relay(rabbitmq) as relay, _publisher(relay.url, own_topology.events) as publisher:
        publisher.publish(_batch(1))
        cutter = threading.Timer(0.02, relay.cut)
        cutter.start()
        confirmed = publisher.publish(_batch(5000))
        cutter.join()
    arrived = set(rabbitmq.messages(listener))
    reported = {body for (_, body), ok in zip(_batch(5000), confirmed, strict=True) if ok}
    assert reported <= arrived


def test_closing_ends_its_thread(rabbitmq: RabbitServer, own_topology: Topology) -> None:
    """Whether connected, never connected or closed before."""
    for used in (True, False):
        publisher = EventPublisher(rabbitmq.url, own_topology.events)
        if used:
            publisher.publish(_batch(1))
        publisher.close()
        publisher.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "events"]


def test_without_a_broker_events_are_not_waited_for() -> None:
    """Embedded, there is no exchange: the pump must not keep events due for ever."""
    publisher = NullPublisher()
    assert publisher.publish(_batch(2)) == [True, True]
    publisher.close()
