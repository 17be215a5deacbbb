"""The producer against a live RabbitMQ: what is confirmed is there, whatever happens between."""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from producers import (
    BatchAborted,
    BrokerUnavailable,
    Email,
    InvalidJob,
    JobTooLarge,
    Producer,
    Topology,
    TopologyMismatch,
    Unroutable,
)
from producers.envelope import decode
from tests.support.producing import HELLO, emails, ids
from tests.support.rabbitmq import QUEUE_TYPE, QUEUE_TYPES, RabbitServer, unique_prefix

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.rabbitmq
FORK = multiprocessing.get_context("fork")


@pytest.fixture(params=QUEUE_TYPES)
def topology(request: pytest.FixtureRequest, rabbitmq: RabbitServer) -> Iterator[Topology]:
    """Queues of both types that no other test knows."""
    topology = Topology(unique_prefix("producer"), request.param)
    yield topology
    rabbitmq.delete_queues(topology.send, topology.batch, topology.dead)


@pytest.fixture
def producer(rabbitmq: RabbitServer, topology: Topology) -> Iterator[Producer]:
    """A producer for acme on the server that all tests share."""
    with Producer(rabbitmq.url, company="acme", topology=topology) as producer:
        yield producer


def test_confirmed_is_stored(
    rabbitmq: RabbitServer, producer: Producer, topology: Topology
) -> None:
    """Every kind arrives in its queue, persistent, under its job's id."""
    receipts = [producer.send(HELLO), producer.compose(HELLO)]
    batch = producer.batch(emails(2_000))
    assert batch.confirmed == 2_000
    with rabbitmq.channel() as channel:
        method, properties, body = channel.basic_get(topology.send)
        assert method is not None
        assert (properties.delivery_mode, properties.message_id) == (2, receipts[0].job_id)
        assert decode(body, topology.send).subject == "Hello"
    assert ids(rabbitmq, topology.send) == [receipt.job_id for receipt in receipts]
    jobs = [decode(body, topology.batch) for body in rabbitmq.messages(topology.batch)]
    assert [job.batch_index for job in jobs] == list(range(2_000))
    assert {job.batch_id for job in jobs} == {batch.batch_id}


def test_large_jobs(rabbitmq: RabbitServer, producer: Producer, topology: Topology) -> None:
    """Jobs of many frames arrive whole, also many of them in a batch."""
    text = "".join(map(str, range(1_500_000)))[: 8 << 20]
    producer.send(Email("a@example.org", "large", text=text))
    producer.batch(Email("a@example.org", "large", text=text[: 2 << 20]) for _ in range(10))
    (body,) = rabbitmq.messages(topology.send)
    assert decode(body, topology.send).text == text
    assert len(rabbitmq.messages(topology.batch)) == 10


def idle_then_send(server: RabbitServer, heartbeat_seconds: int, idle_seconds: float) -> None:
    """Send, be idle, and send again on the very same connection."""
    topology = Topology(unique_prefix("idle"), QUEUE_TYPE)
    with Producer(f"{server.url}?heartbeat={heartbeat_seconds}", topology=topology) as producer:
        producer.send(HELLO)
        connection = producer._sender._connection  # type: ignore[attr-defined]  # of AmqpSender
        time.sleep(idle_seconds)
        producer.send(HELLO)
        assert producer._sender._connection is connection  # type: ignore[attr-defined]  # the same
    assert len(server.messages(topology.send)) == 2
    server.delete_queues(topology.send, topology.batch, topology.dead)


def test_idle_behind_a_heartbeat(rabbitmq: RabbitServer) -> None:
    """More than three heartbeats without a call: the connection is alive, the send immediate."""
    idle_then_send(rabbitmq, heartbeat_seconds=2, idle_seconds=7.0)


@pytest.mark.slow
@pytest.mark.timeout(360)
def test_idle_for_five_minutes(rabbitmq: RabbitServer) -> None:
    """Five minutes behind a ten-second heartbeat, then send."""
    idle_then_send(rabbitmq, heartbeat_seconds=10, idle_seconds=300.0)


def test_sixteen_threads(rabbitmq: RabbitServer, producer: Producer, topology: Topology) -> None:
    """Sixteen threads share one producer: nothing lost, nothing doubled, nothing mixed up."""

    def work(number: int) -> list[str]:
        sent = [producer.send(HELLO).job_id for _ in range(25)]
        receipt = producer.batch(emails(20), batch_id=f"thread-{number}")
        assert receipt.confirmed == 20
        return sent

    with ThreadPoolExecutor(16) as pool:
        sent = [job_id for part in pool.map(work, range(16)) for job_id in part]
    assert sorted(ids(rabbitmq, topology.send)) == sorted(sent)
    assert len(set(ids(rabbitmq, topology.batch))) == 16 * 20


def test_fork_after_construction(
    rabbitmq: RabbitServer, producer: Producer, topology: Topology
) -> None:
    """Parent and children use the same producer after a fork, each on its own connection."""
    producer.send(HELLO)

    def work() -> None:
        producer.send(HELLO)
        producer.batch(emails(10))
        producer.close()

    children = [FORK.Process(target=work, daemon=True) for _ in range(3)]
    for child in children:
        child.start()
    producer.send(HELLO)
    for child in children:
        child.join(20)
    producer.send(HELLO)
    assert [child.exitcode for child in children] == [0, 0, 0]
    assert len(set(ids(rabbitmq, topology.send))) == 6
    assert len(set(ids(rabbitmq, topology.batch))) == 30


def test_fork_before_the_first_use(
    rabbitmq: RabbitServer, producer: Producer, topology: Topology
) -> None:
    """A server that forks its workers may make the producer before."""
    child = FORK.Process(target=producer.send, args=(HELLO,), daemon=True)
    child.start()
    child.join(20)
    assert child.exitcode == 0
    assert len(rabbitmq.messages(topology.send)) == 1


def test_a_bad_row_in_both_modes(
    rabbitmq: RabbitServer, producer: Producer, topology: Topology
) -> None:
    """Row 5,000 of 10,000: the exact count lies in the queue, with and without going on."""
    with pytest.raises(BatchAborted) as caught:
        producer.batch(emails(10_000, bad=5_000))
    assert (caught.value.confirmed, caught.value.index) == (5_000, 5_000)
    assert isinstance(caught.value.cause, InvalidJob)
    assert len(set(ids(rabbitmq, topology.batch))) == 5_000
    receipt = producer.batch(emails(10_000, bad=5_000), on_invalid="collect")
    assert (receipt.confirmed, [error.index for error in receipt.invalid]) == (9_999, [5_000])
    assert len(set(ids(rabbitmq, topology.batch))) == 9_999


def test_nothing_invalid_is_published(
    rabbitmq: RabbitServer, producer: Producer, topology: Topology
) -> None:
    """A comma in to, a naive datetime, 13 MiB: an error with one line, and an empty queue."""
    producer.send(HELLO)
    assert len(rabbitmq.messages(topology.send)) == 1
    naive = datetime(2027, 1, 1)  # noqa: DTZ001 the naive datetime is the point
    with pytest.raises(InvalidJob, match="use ';' or a list"):
        producer.send(Email("a@example.org, b@example.org", "x", text="y"))
    with pytest.raises(InvalidJob, match="send_at: a time without a time zone"):
        producer.send(Email("a@example.org", "x", text="y", send_at=naive))
    with pytest.raises(JobTooLarge, match="at most 12582912"):
        producer.send(Email("a@example.org", "x", text="y" * (13 << 20)))
    assert rabbitmq.queue_depth(topology.send) == 0


def test_unroutable(rabbitmq: RabbitServer) -> None:
    """Without declaring and without the queue: an error that says so, and carries the job."""
    topology = Topology(unique_prefix("missing"), QUEUE_TYPE)
    with Producer(rabbitmq.url, declare=False, topology=topology) as producer:
        with pytest.raises(Unroutable, match=f"no queue {topology.send}") as caught:
            producer.send(HELLO)
        assert caught.value.job is not None
        with pytest.raises(BatchAborted) as aborted:
            producer.batch(emails(600))
        assert isinstance(aborted.value.cause, Unroutable)
        assert (aborted.value.confirmed, aborted.value.index) == (0, 0)
        with rabbitmq.channel() as channel:
            channel.queue_declare(topology.send, durable=True)
        assert producer.publish(caught.value.job).job_id == caught.value.job.id
    assert ids(rabbitmq, topology.send) == [caught.value.job.id]
    rabbitmq.delete_queues(topology.send)


def test_a_deleted_queue_is_declared_again(
    rabbitmq: RabbitServer, producer: Producer, topology: Topology
) -> None:
    """Somebody deletes the queue while the producer is connected: the next send makes it again."""
    producer.send(HELLO)
    rabbitmq.delete_queues(topology.send)
    producer.send(HELLO)
    assert rabbitmq.queue_depth(topology.send) == 1


def test_other_arguments(rabbitmq: RabbitServer, topology: Topology) -> None:
    """Queues that exist otherwise are a person's matter, said at once."""
    with rabbitmq.channel() as channel:
        channel.queue_declare(topology.send, durable=True, arguments={"x-max-length": 5})
    with (
        Producer(rabbitmq.url, topology=topology) as producer,
        pytest.raises(TopologyMismatch, match="inequivalent arg"),
    ):
        producer.send(HELLO)


def test_a_wrong_password_is_said_at_once_and_never_shown(rabbitmq: RabbitServer) -> None:
    """Trying again would not help, and an error is no place for a password."""
    url = rabbitmq.url.replace("guest:guest", "guest:hunter2")
    with Producer(url) as producer:
        with pytest.raises(BrokerUnavailable, match="refused the user name or password") as caught:
            producer.send(HELLO)
        assert "hunter2" not in f"{caught.value!r}{caught.value.__context__!r}"


def test_nobody_listens() -> None:
    """A broker that is not there: an error within the time allowed, carrying the job."""
    with Producer("amqp://guest:guest@127.0.0.1:1/", confirm_timeout_seconds=1.0) as producer:
        with pytest.raises(BrokerUnavailable, match="cannot be reached") as caught:
            producer.send(HELLO)
        assert caught.value.job is not None
        with pytest.raises(BatchAborted, match="cannot be reached"):
            producer.batch(emails(3))


@pytest.mark.slow
def test_ten_times_as_fast_as_dramatiq(rabbitmq: RabbitServer) -> None:
    """A batch is published ten times as fast as with RabbitmqBroker(confirm_delivery=True)."""
    import dramatiq
    from dramatiq.brokers.rabbitmq import RabbitmqBroker

    topology = Topology(unique_prefix("fast"), QUEUE_TYPE)
    broker = RabbitmqBroker(url=rabbitmq.url, confirm_delivery=True, middleware=[])
    with Producer(rabbitmq.url, topology=topology) as producer:
        producer.batch(emails(2_000))
        message: dramatiq.Message[Any] = dramatiq.Message(
            topology.batch, "batch", (), {"job": {"text": "x" * 200}}, {}
        )
        broker.queues.add(topology.batch)  # declared by us; Dramatiq would ask for other arguments
        best = 0.0
        for _ in range(3):
            started = time.monotonic()
            for _ in range(500):
                broker.enqueue(message.copy())
            one_by_one = 500 / (time.monotonic() - started)
            started = time.monotonic()
            producer.batch(emails(10_000))
            best = max(best, 10_000 / (time.monotonic() - started) / one_by_one)
    broker.close()
    rabbitmq.delete_queues(topology.send, topology.batch, topology.dead)
    assert best >= 10.0
