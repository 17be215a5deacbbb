"""RabbitMQ away: what the ledger has goes on leaving at its pace, and everybody is told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from tests.support.fleet import Company
from tests.support.office import open_office
from tests.support.outages import PATIENCE_SECONDS, gauge
from tests.support.rabbitmq import unique_prefix
from tests.support.scripted import until
from worker.demo.figures import worst_window

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.office import Office
    from tests.support.rabbitmq import RabbitServer

LIMIT, WINDOW_SECONDS = 10, 5.0
BACKLOG = 4 * LIMIT
_WAITING = text("SELECT count(*) FROM delivery WHERE batch_id IS NOT NULL")
_UNTOLD = text("SELECT count(*) FROM delivery WHERE event IS NOT NULL")


@pytest.mark.slow
@pytest.mark.rabbitmq
def test_what_is_in_the_ledger_goes_on(broker: RabbitServer, tmp_path: Path) -> None:
    """Most of a batch leaves without RabbitMQ, within its limit; its events are told afterwards."""
    with open_office(
        tmp_path / "office",
        broker,
        prefix=unique_prefix("away"),
        companies=(Company("acme", None), Company("paced", LIMIT)),
        window_seconds=WINDOW_SECONDS,
    ) as office:
        ledger, fleet = office.fleet.ledger, office.fleet
        before = len(fleet.arrivals())
        pids = fleet.worker_pids()
        fleet.publish_batch("paced", BACKLOG)
        until(
            lambda: ledger.read(lambda c, _: c.execute(_WAITING).scalar_one()) == BACKLOG,
            "the whole batch in the ledger",
            PATIENCE_SECONDS,
        )
        broker.stop()
        try:
            left = len(fleet.arrivals()) - before
            assert left < BACKLOG
            until(lambda: office.readiness()[0] == 503, "no readiness", PATIENCE_SECONDS)
            missing = ", ".join(sorted((*office.queues.queues, office.queues.dead)))
            assert office.readiness()[1] == f"no worker is ready: not connected: {missing}"
            assert told(office, "cannot take jobs from ") == len(missing.split(", "))
            until(lambda: gauge(office, "postmeter_workers_ready") == 0, "the metric")
            assert gauge(office, "postmeter_ledger_up") == 1
            until(lambda: len(fleet.arrivals()) - before == BACKLOG, "the batch", PATIENCE_SECONDS)
            assert ledger.read(lambda c, _: c.execute(_UNTOLD).scalar_one()) >= BACKLOG - left
        finally:
            broker.start()
        office.wait_for_readiness((200, "1 of 1 workers ready"), PATIENCE_SECONDS)
        until(
            lambda: ledger.read(lambda c, _: c.execute(_UNTOLD).scalar_one()) == 0,
            "an empty outbox",
            PATIENCE_SECONDS,
        )
        assert told(office, "taking jobs from ") == 2 * len(missing.split(", "))
        own = [mail.at for mail in fleet.arrivals()[before:]]
        assert worst_window(own, WINDOW_SECONDS) <= LIMIT
        assert len(own) == BACKLOG
        assert fleet.worker_pids() == pids
        assert office.delivers_promptly()


def told(office: Office, words: str) -> int:
    """How many lines of the log begin so."""
    lines = office.fleet.log.read_text().splitlines()
    events = (json.loads(line)["event"] for line in lines if line.startswith("{"))
    return sum(event.startswith(words) for event in events)
