"""The producer while its RabbitMQ is stopped, killed, frozen and short of memory."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from producers import BatchAborted, Email, NotConfirmed, Producer, Receipt, Topology
from tests.support.producing import HELLO, depth_when_still, emails, ids
from tests.support.rabbitmq import QUEUE_TYPE, QUEUE_TYPES, RabbitServer, unique_prefix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.rabbitmq


@pytest.fixture(scope="module")
def server(rabbitmq: RabbitServer) -> Iterator[RabbitServer]:
    """A second private server; the first one's fixture says what is missing."""
    with RabbitServer() as server:
        yield server


@pytest.fixture(params=QUEUE_TYPES)
def own(request: pytest.FixtureRequest) -> Topology:
    """Queues on that server, once of each type that is asked for."""
    return Topology(unique_prefix("fails"), request.param)


def test_stopped_in_mid_batch_and_resumed(server: RabbitServer, own: Topology) -> None:
    """The exact confirmed count is the queue's depth; resumed from there, nothing doubles."""

    def interrupted() -> Iterator[Email]:
        for number, email in enumerate(emails(4_000)):
            if number == 2_900:
                depth_when_still(server, own.batch, 2_000)
                server.stop()
            yield email

    with Producer(server.url, topology=own, confirm_timeout_seconds=5.0) as producer:
        with pytest.raises(BatchAborted) as caught:
            producer.batch(interrupted(), batch_id="november")
        aborted = caught.value
        server.start()
        assert aborted.confirmed == depth_when_still(server, own.batch, 1)
        assert aborted.index == aborted.confirmed
        assert isinstance(aborted.cause, NotConfirmed)
        rest = list(emails(4_000))[aborted.index :]
        receipt = producer.batch(rest, batch_id=aborted.batch_id, start_index=aborted.index)
        assert aborted.confirmed + receipt.confirmed == 4_000
    found = ids(server, own.batch)
    assert len(found) == len(set(found)) == 4_000


def test_killed_at_any_moment(server: RabbitServer) -> None:
    """A power cut in mid-batch loses nothing confirmed; resumed from the start, ids are the same."""
    own = Topology(unique_prefix("killed"), QUEUE_TYPE)
    with Producer(server.url, topology=own, confirm_timeout_seconds=5.0) as producer:
        producer.batch(emails(1), batch_id="earlier")
        # RabbitMQ 3.10 forgets a quorum queue that was declared in the second before a kill.
        time.sleep(2.5)
        killer = threading.Timer(0.5, server.kill)
        killer.start()
        with pytest.raises(BatchAborted) as caught:
            producer.batch(emails(200_000), batch_id="b")
        killer.join()
        server.start()
        depth_when_still(server, own.batch, 1 + caught.value.confirmed)  # a leader is elected first
        stored = set(ids(server, own.batch))
        assert len(stored) >= caught.value.confirmed + 1
        confirmed = caught.value.index  # all before the first unconfirmed one are
        producer.batch(emails(confirmed), batch_id="b")
        assert set(ids(server, own.batch)) <= stored


def test_a_restart_between_two_sends(server: RabbitServer, own: Topology) -> None:
    """The connection that was lost is replaced without a word."""
    with Producer(server.url, topology=own) as producer:
        producer.send(HELLO)
        server.restart()
        producer.send(HELLO)
    assert depth_when_still(server, own.send, 2) == 2


def test_a_send_waits_for_a_restart(server: RabbitServer) -> None:
    """A broker that comes back within the time allowed costs a wait, not an error."""
    own = Topology(unique_prefix("waits"), QUEUE_TYPE)
    with Producer(server.url, topology=own, confirm_timeout_seconds=30.0) as producer:
        producer.send(HELLO)
        server.stop()
        starter = threading.Timer(0.5, server.start)
        starter.start()
        producer.send(HELLO)
        starter.join()
    assert depth_when_still(server, own.send, 2) == 2


def test_not_confirmed_and_published_again(server: RabbitServer, own: Topology) -> None:
    """A frozen broker: the error carries the job, and publishing it again keeps its id."""
    with Producer(server.url, topology=own, confirm_timeout_seconds=1.0) as producer:
        producer.send(HELLO)
        assert len(ids(server, own.send)) == 1
        server.pause()
        try:
            with pytest.raises(NotConfirmed, match="no confirm from RabbitMQ within 1 s") as caught:
                producer.send(HELLO)
            with pytest.raises(BatchAborted):
                producer.batch(emails(3))
        finally:
            server.resume()
        job = caught.value.job
        assert job is not None
    with Producer(server.url, topology=own) as producer:
        assert producer.publish(job).job_id == job.id
    assert depth_when_still(server, own.send, 1) in {1, 2}
    assert set(ids(server, own.send)) == {job.id}


def test_an_alarm_blocks(server: RabbitServer) -> None:
    """While RabbitMQ is short of memory, an error says so; afterwards the same producer works."""
    own = Topology(unique_prefix("alarm"), QUEUE_TYPE)
    with Producer(server.url, topology=own, confirm_timeout_seconds=2.0) as producer:
        producer.send(HELLO)
        server.ctl("set_vm_memory_high_watermark", "absolute", "1000")
        try:
            for _ in range(2):
                with pytest.raises(NotConfirmed, match=r"RabbitMQ takes nothing .*memory"):
                    producer.send(HELLO)
        finally:
            server.ctl("set_vm_memory_high_watermark", "absolute", "1000000000")
        retry(lambda: producer.send(HELLO))
    assert set(ids(server, own.send))


def retry(call: Callable[[], Receipt], times: int = 5) -> None:
    """Call until it is confirmed: an alarm takes a moment to clear."""
    for attempt in range(times):
        try:
            call()
        except NotConfirmed:
            if attempt == times - 1:
                raise
        else:
            return
