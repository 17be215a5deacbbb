"""Live control of real workers: pauses, dates and limits that everybody obeys within seconds."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from producers import Email
from tests.support.fleet import Company
from tests.support.office import open_office
from tests.support.scripted import held, postmeter, told
from tests.support.waiting import wait_until
from worker.ledger.rows import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from producers import Receipt
    from tests.support.office import Office

SEEN_SECONDS = 4.0
"""Within which every worker obeys a pause: 2 s, and as much again for a busy machine."""


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """Two worker processes that serve acme and beta."""
    companies = (Company("acme", None), Company("beta", None))
    root = tmp_path_factory.mktemp("live")
    with open_office(root, companies=companies, processes=2) as running:
        yield running


def send(office: Office, company: str, count: int, **more: Any) -> list[Receipt]:
    """Publish so many single sends."""
    return [
        office.producer.send(
            Email(f"kim{n}@customers.example", "Hello", text="Hello Kim", **more), company=company
        )
        for n in range(count)
    ]


def arrived(office: Office, receipts: list[Receipt]) -> dict[str, float]:
    """When the server accepted those of these emails that it has accepted, each once."""
    wanted = {receipt.message_id for receipt in receipts}
    found = [each for each in office.fleet.arrivals() if each.message_id in wanted]
    times = {each.message_id: each.at for each in found}
    assert len(times) == len(found), "an email arrived twice"
    return times


def all_arrived(office: Office, receipts: list[Receipt]) -> None:
    """Wait until the server has accepted all of these."""
    wait_until(lambda: len(arrived(office, receipts)) == len(receipts), "the arrival of all")


def all_wait(office: Office, receipts: list[Receipt]) -> None:
    """Wait until all of these wait in the ledger, and none has left."""
    for receipt in receipts:
        row = office.wait_for(receipt.job_id, State.WAITING, timeout_seconds=60.0)
        assert row.attempts == 0
    assert arrived(office, receipts) == {}


def test_a_pause_is_obeyed_by_every_worker_and_kept_over_a_restart(office: Office) -> None:
    """What comes for a paused company waits and says why; others flow; resumed, all of it leaves."""
    office.wait_until_all_ready()
    postmeter(office, "pause", "company:acme", "--by", "ann", "--reason", "it moves")
    time.sleep(SEEN_SECONDS)
    waiting = send(office, "acme", 60)
    all_wait(office, waiting)
    all_arrived(office, send(office, "beta", 20))
    reason = "held: company:acme: paused by ann: it moves"
    assert told(office, waiting[0].job_id)["forecast"]["blocked"] == reason
    assert office.fleet.stop() == 0
    office.fleet.start()
    office.wait_until_all_ready()
    waiting += send(office, "acme", 20)
    all_arrived(office, send(office, "beta", 20))
    all_wait(office, waiting)
    assert postmeter(office, "resume", "company:acme") == "resumed company:acme\n"
    all_arrived(office, waiting)


def test_a_pause_ends_by_itself(office: Office) -> None:
    """At its time mail goes on, and not before."""
    office.wait_until_all_ready()
    made = json.loads(postmeter(office, "pause", "mailbox:acme/robot", "--for", "8s", "--json"))
    until = datetime.fromisoformat(made["until"]).timestamp() + time.monotonic() - time.time()
    time.sleep(SEEN_SECONDS)
    waiting = send(office, "acme", 10)
    all_arrived(office, waiting)
    assert min(arrived(office, waiting).values()) >= until - 0.01
    wait_until(lambda: held(office) == {}, "the end of the hold")


def test_a_kind_of_mail_is_paused_while_another_flows(office: Office) -> None:
    """Everybody's batches stand still; single sends do not notice."""
    office.wait_until_all_ready()
    postmeter(office, "pause", "all", "--kind", "batch")
    time.sleep(SEEN_SECONDS)
    with office.fleet.producer() as producer:
        emails = [Email(f"c{n}@customers.example", "News", text="Hello") for n in range(20)]
        producer.batch(emails, company="acme", batch_id="standing")
    all_arrived(office, send(office, "acme", 20))
    count = len(office.fleet.arrivals())
    status = json.loads(postmeter(office, "batch", "status", "standing", "--json"))
    assert status["jobs"]["waiting"] == 20
    postmeter(office, "resume", "all", "--kind", "batch")
    assert office.fleet.wait_for(count + 20, 60.0)


def test_an_email_with_a_date_leaves_at_it_over_a_restart(office: Office) -> None:
    """It waits in the ledger, and a later word of a person counts."""
    office.wait_until_all_ready()
    at = datetime.now(UTC) + timedelta(seconds=5)
    (dated,) = send(office, "acme", 1, send_at=at)
    (moved,) = send(office, "acme", 1, send_at=at + timedelta(days=14))
    for receipt in (dated, moved):
        office.wait_for(receipt.job_id, State.WAITING, timeout_seconds=60.0)
    assert office.fleet.stop() == 0
    office.fleet.start()
    due_at = at.timestamp() + time.monotonic() - time.time()
    all_arrived(office, [dated])
    assert arrived(office, [dated])[dated.message_id] >= due_at - 0.01
    assert arrived(office, [moved]) == {}
    postmeter(office, "reschedule", moved.job_id, "--in", "1s")
    all_arrived(office, [moved])
