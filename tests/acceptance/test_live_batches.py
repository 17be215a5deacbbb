"""A batch that is paused in mid-flow stands still, and loses nothing when it goes on."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.fleet import Company
from tests.support.office import open_office
from tests.support.scripted import postmeter
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.office import Office

COUNT = 240
PER_MINUTE = 1800
STANDS_SECONDS = 4.0
"""How long after the command has returned what was in DATA may still arrive: 2 s, and as much
again for a busy machine."""


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """Two worker processes; acme's batches leave at 30 a second, beta's as fast as they can."""
    companies = (Company("acme", PER_MINUTE), Company("beta", None))
    with open_office(
        tmp_path_factory.mktemp("batches"), companies=companies, processes=2
    ) as running:
        yield running


def batch_status(office: Office, batch_id: str) -> dict[str, int]:
    """How many emails of a batch are in each state."""
    told = json.loads(postmeter(office, "batch", "status", batch_id, "--json"))
    assert told["total"] == sum(told["jobs"].values())
    jobs: dict[str, int] = told["jobs"]
    return jobs


def times(office: Office, before: int) -> list[float]:
    """When the server has accepted emails beyond those before the batch."""
    return [each.at for each in office.fleet.arrivals()][before:]


@pytest.mark.parametrize("company", ["acme", "beta"])
def test_a_batch_stands_still_and_goes_on(office: Office, company: str) -> None:
    """Nothing leaves from some seconds after the command on, over a restart too; then each leaves once."""
    before = len(office.fleet.arrivals())
    batch_id = office.fleet.publish_batch(company, COUNT).batch_id
    wait_until(lambda: len(times(office, before)) >= COUNT // 10, "a tenth of the batch")
    paused = json.loads(postmeter(office, "batch", "pause", batch_id, "--json"))
    returned = time.monotonic()
    time.sleep(STANDS_SECONDS)
    assert office.fleet.stop() == 0
    office.fleet.start()
    office.wait_until_all_ready()
    office.seconds_for_a_good_job(60.0)
    stood = times(office, before)[:-1]
    assert all(at <= returned + STANDS_SECONDS for at in stood)
    jobs = batch_status(office, batch_id)
    assert jobs["waiting"] == jobs["claimed"] == jobs["data"] == 0
    assert jobs["sent"] + jobs["paused"] == COUNT
    assert paused["pause"]["until"] is None
    if company == "acme":
        assert jobs["paused"] > COUNT // 2
    postmeter(office, "batch", "resume", batch_id)
    assert office.fleet.wait_for(before + 1 + COUNT, 120.0)
    wait_until(lambda: batch_status(office, batch_id)["sent"] == COUNT, "the whole batch sent")
    ids = [each.message_id for each in office.fleet.arrivals()]
    assert len(ids) == len(set(ids)), "an email was sent twice"


def test_a_batch_that_is_paused_for_some_time_goes_on_by_itself(office: Office) -> None:
    """At its time the emails are back in line, whoever put them aside."""
    before = len(office.fleet.arrivals())
    batch_id = office.fleet.publish_batch("acme", 40).batch_id
    wait_until(lambda: times(office, before), "the first email")
    postmeter(office, "batch", "pause", batch_id, "--for", "4s")
    wait_until(lambda: batch_status(office, batch_id)["sent"] == 40, "the whole batch sent")


def test_a_paused_batch_is_cancelled_for_good(office: Office) -> None:
    """Nothing of it leaves any more; the states add up."""
    before = len(office.fleet.arrivals())
    batch_id = office.fleet.publish_batch("acme", COUNT).batch_id
    wait_until(lambda: len(times(office, before)) >= 10, "some of the batch")
    postmeter(office, "batch", "pause", batch_id)
    cancelled = json.loads(postmeter(office, "batch", "cancel", batch_id, "--json"))["cancelled"]
    wait_until(
        lambda: batch_status(office, batch_id)["sent"] + cancelled == COUNT, "the end of the rest"
    )
    jobs = batch_status(office, batch_id)
    assert (jobs["cancelled"], jobs["paused"], jobs["waiting"]) == (cancelled, 0, 0)
