"""What applications hear: every final outcome at least once on RabbitMQ, whatever is killed."""

from __future__ import annotations

import json
import os
import signal
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from producers import Email
from tests.support.office import open_office
from tests.support.rabbitmq import RabbitServer, free_port, unique_prefix
from tests.support.scripted import make_due, postmeter, until, write_company
from tests.support.smtpd import Drop, SmtpServer
from tests.support.waiting import GENEROUS_SECONDS
from worker.ledger.rows import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.office import Office

HEARD_SECONDS = 2 * GENEROUS_SECONDS
"""By when an event comes even after a broker or a worker was lost."""


class Listener:
    """A durable queue bound to everything that is said, and what has come into it so far."""

    def __init__(self, server: RabbitServer, exchange: str) -> None:
        self._server = server
        self._queue = f"{exchange}.heard"
        self.heard: list[tuple[str, dict[str, Any]]] = []
        with server.channel() as channel:
            channel.queue_declare(self._queue, durable=True)
            channel.queue_bind(self._queue, exchange, "#")

    def of(self, job_id: str) -> list[tuple[str, dict[str, Any]]]:
        """Routing key and body of every event about a job, in the order of their arrival."""
        with self._server.channel() as channel:
            while (got := channel.basic_get(self._queue, auto_ack=True))[0] is not None:
                self.heard.append((got[0].routing_key, json.loads(got[2])))
        return [each for each in self.heard if each[1]["job_id"] == job_id]

    def wait_for(self, job_id: str, outcome: str) -> tuple[str, dict[str, Any]]:
        """Wait for the event of that outcome."""
        deadline = time.monotonic() + HEARD_SECONDS
        while time.monotonic() < deadline:
            for key, event in self.of(job_id):
                if event["outcome"] == outcome:
                    return key, event
            time.sleep(0.05)
        raise AssertionError(f"no {outcome} of {job_id}: {self.of(job_id)}")


@pytest.fixture(scope="module")
def broker(request: pytest.FixtureRequest) -> Iterator[RabbitServer]:
    """A RabbitMQ that these tests may stop."""
    if not RabbitServer.available():
        request.getfixturevalue("rabbitmq")  # skips or fails with the one reason
    with RabbitServer() as server:
        yield server


@pytest.fixture(scope="module")
def server() -> Iterator[SmtpServer]:
    """A server that does what the test at hand says."""
    with SmtpServer() as running:
        yield running


@pytest.fixture(scope="module")
def desk(
    broker: RabbitServer,
    server: SmtpServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Office]:
    """A worker behind that RabbitMQ, with the company ``loud``."""
    root = tmp_path_factory.mktemp("events")
    write_company(root / "settings", "loud", server.port, delivery='on_unknown = "hold"')
    with open_office(root, broker, prefix=unique_prefix("events")) as running:
        yield running


@pytest.fixture(scope="module")
def listener(desk: Office, broker: RabbitServer) -> Listener:
    """An application that listens to everything."""
    return Listener(broker, desk.queues.events)


@pytest.mark.rabbitmq
def test_every_outcome_is_told(desk: Office, server: SmtpServer, listener: Listener) -> None:
    """sent, deferred, dead, unknown and cancelled come with job, recipients, words and metadata."""
    server.on("rcpt", "451 4.3.0 later", when="deferred@")
    server.on("rcpt", "550 5.1.1 no such user", when="dead@")
    server.on("dot", Drop(), when="Subject: unknown")
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    jobs = {
        outcome: desk.producer.send(
            Email(
                f"{outcome}@customers.example",
                outcome,
                text="Hello",
                send_at=tomorrow if outcome == "cancelled" else None,
            ),
            company="loud",
        )
        for outcome in ("sent", "deferred", "dead", "unknown", "cancelled")
    }
    desk.wait_for(jobs["cancelled"].job_id, State.WAITING)
    postmeter(desk, "cancel", jobs["cancelled"].job_id)
    replies = {"sent": "accepted", "deferred": "deferred", "dead": "refused"}
    for outcome, receipt in jobs.items():
        key, event = listener.wait_for(receipt.job_id, outcome)
        assert key == f"{outcome}.loud.send"
        assert (event["message_id"], event["kind"]) == (receipt.message_id, "send")
        assert (event["company"], event["event"]) == ("loud", outcome)
        if outcome in replies:
            (recipient,) = event["recipients"]
            assert recipient["address"] == f"{outcome}@customers.example"
            assert recipient["state"] == replies[outcome]
    _, dead = listener.wait_for(jobs["dead"].job_id, "dead")
    assert dead["recipients"][0]["text"] == "no such user"
    assert all(len(listener.of(receipt.job_id)) == 1 for receipt in jobs.values())


@pytest.mark.rabbitmq
def test_a_draft_is_told_with_the_way_to_it(desk: Office, listener: Listener) -> None:
    """The event says that an unsent message is kept with the job, which no server was asked for."""
    receipt = desk.producer.compose(Email("a@customers.example", "x", text="y"), company="loud")
    key, event = listener.wait_for(receipt.job_id, "drafted")
    assert key == "drafted.loud.compose"
    assert (event["draft"], event["web_link"]) == ("eml", None)
    assert (event["transport"], event["attempts"]) == ("accredo-mailer", 1)


@pytest.mark.rabbitmq
def test_a_hold_is_told(desk: Office, listener: Listener) -> None:
    """Mail that waits because its server is down says so, with the reason."""
    write_company(desk.fleet.root / "settings", "dark", free_port())
    receipt = desk.producer.send(Email("a@customers.example", "x", text="y"), company="dark")
    key, event = listener.wait_for(receipt.job_id, "held")
    assert key == "held.dark.send"
    assert "connect" in event["reason"]


@pytest.mark.rabbitmq
def test_an_event_outlives_a_broker_that_stops(
    desk: Office, broker: RabbitServer, listener: Listener
) -> None:
    """What was settled while RabbitMQ was away is told when it is back."""
    job_id = publish_for_tomorrow(desk)
    broker.stop()
    make_due(desk, job_id)
    desk.wait_for(job_id, State.SENT)
    assert due(desk) >= 1
    broker.start()
    listener.wait_for(job_id, "sent")
    until(lambda: due(desk) == 0, "an empty outbox")
    desk.wait_until_all_ready()


@pytest.mark.rabbitmq
def test_an_event_outlives_its_worker(
    desk: Office, server: SmtpServer, broker: RabbitServer, listener: Listener
) -> None:
    """A worker killed between settle and publishing leaves the event to the next one."""
    job_id = publish_for_tomorrow(desk)
    broker.pause()  # nothing is confirmed meanwhile
    try:
        make_due(desk, job_id)
        desk.wait_for(job_id, State.SENT)
        (pid,) = desk.fleet.worker_pids()
        os.kill(pid, signal.SIGKILL)
        assert due(desk) >= 1
    finally:
        broker.resume()
    _, event = listener.wait_for(job_id, "sent")
    assert event["attempts"] == 1
    until(lambda: due(desk) == 0, "an empty outbox")
    desk.wait_until_all_ready()


def test_without_a_broker_nothing_stays_due(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Behind the embedded inbox there is nobody to tell: the outbox is emptied all the same."""
    with open_office(tmp_path_factory.mktemp("quiet")) as office:
        receipt = office.publish_good()
        office.wait_for(receipt.job_id, State.SENT)
        until(lambda: due(office) == 0, "an empty outbox")


def publish_for_tomorrow(desk: Office) -> str:
    """Publish an email with a date, and wait until it is in the ledger."""
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    email = Email("later@customers.example", "Later", text="Hello", send_at=tomorrow)
    job_id = desk.producer.send(email, company="loud").job_id
    desk.wait_for(job_id, State.WAITING)
    return job_id


def due(office: Office) -> int:
    """How many rows have an event that is still to be published."""
    count = text("SELECT count(*) FROM delivery WHERE event IS NOT NULL")
    return int(office.fleet.ledger.read(lambda c, _: c.execute(count).scalar_one()))
