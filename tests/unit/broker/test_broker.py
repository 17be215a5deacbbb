"""The broker knows its own queues and nothing else."""

from __future__ import annotations

import dramatiq
import pytest
from dramatiq.errors import QueueNotFound

from tests.unit.broker.fakes import QUEUE, broker
from worker.broker.broker import CoroutineActor, Source


async def _nothing() -> None:
    """Do nothing."""


def test_an_actor_keeps_its_coroutine() -> None:
    """The loop runs the coroutine itself, not Dramatiq's wrapper that blocks a thread."""
    one = broker()
    one.register(_nothing, actor_name="send", queue_name=QUEUE)
    actor = one.get_actor("send")
    assert isinstance(actor, CoroutineActor)
    assert actor.coroutine is _nothing
    assert one.get_declared_queues() == {QUEUE}
    assert one.get_declared_delay_queues() == set()


def test_the_decorator_of_dramatiq_works_too() -> None:
    """``dramatiq.actor`` with our actor class declares the same."""
    one = broker()
    actor = dramatiq.actor(
        broker=one, actor_class=CoroutineActor, actor_name="send", queue_name=QUEUE
    )(_nothing)
    assert one.get_actor("send") is actor


def test_a_queue_without_a_source_does_not_exist() -> None:
    """No envelope and no mistake makes this worker read another queue."""
    with pytest.raises(QueueNotFound, match="elsewhere"):
        broker().declare_queue("elsewhere")
    with pytest.raises(QueueNotFound, match="elsewhere"):
        broker().consume("elsewhere")


def test_it_publishes_nothing() -> None:
    """There is no way to lose a job by re-enqueueing it."""
    one = broker()
    one.register(_nothing, actor_name="send", queue_name=QUEUE)
    with pytest.raises(RuntimeError, match="publishes no jobs"):
        one.get_actor("send").send()


def test_a_prefetch_without_limit_is_refused() -> None:
    """Zero means unlimited to RabbitMQ, and is what Dramatiq derives from no threads."""
    with pytest.raises(ValueError, match="prefetch is 0"):
        Source(prefetch=0, open=lambda _prefetch, _timeout: dramatiq.Consumer())


def test_readiness_names_the_queues_without_a_connection() -> None:
    """A queue that has no consumer yet is not ready; while suspended none should be."""
    one = broker()
    one.declare_queue(QUEUE)
    assert one.disconnected() == (QUEUE,)
    one.consume(QUEUE)
    assert one.disconnected() == ()
    other = broker()
    other.declare_queue(QUEUE)
    other.intake.suspend("the ledger is away")
    assert other.disconnected() == ()
