"""Invariant 6 with real processes: a backlog after an idle time, minute after minute, at the server."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import pytest

from tests.prove.judging import USED_WITH_QUICK_REPLIES, Course, use_of
from tests.support.fleet import Company, Fleet
from tests.support.waiting import wait_until
from worker.demo.figures import worst_window
from worker.pace import CATCH_UP_SECONDS, IDLE_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]

LIMIT = 600
ACME = Company("acme", LIMIT)
PROCESSES = 4
MINUTES = 3
WARM_UP = 20
MAILS = int(LIMIT * (MINUTES + 0.25))
"""A quarter of a minute more than three minutes can use, so that mail waits all the time."""
STRETCH_SECONDS = 10.0
EVEN = LIMIT / 60 * STRETCH_SECONDS
SLACK = 2.5 * LIMIT / 60 * CATCH_UP_SECONDS
"""What the catch-up of a second lets through, and is missing before it; more for whatever else the
machine does, for a stretch in which it was slow is seen again a minute later."""


@pytest.mark.parametrize(
    "database", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)]
)
def test_a_backlog_after_an_idle_time_leaves_evenly(
    tmp_path: Path, database: str, request: pytest.FixtureRequest
) -> None:
    """A gentle first second, then each 10 s their share, and 99 % of the limit used."""
    environ = {}
    if database == "postgresql":
        environ["POSTMETER_LEDGER_URL"] = request.getfixturevalue("postgresql_url")
    with Fleet(
        tmp_path, (ACME,), processes=PROCESSES, delay_seconds=0.2, more_environ=environ
    ) as fleet:
        wait_until(lambda: len(fleet.worker_pids()) == PROCESSES, "every worker")
        fleet.publish_batch(ACME.name, WARM_UP)
        wait_until(lambda: fleet.states() == {"sent": WARM_UP}, "the first mails")
        time.sleep(IDLE_SECONDS + 10.0)
        fleet.publish_batch(ACME.name, MAILS, first=WARM_UP)
        assert fleet.wait_for(WARM_UP + MAILS, 60.0 * (MINUTES + 2)), "mails are missing"
        all_times = [arrival.at for arrival in fleet.arrivals()]
    times = all_times[WARM_UP:]
    since = times[0]
    assert since - all_times[WARM_UP - 1] > IDLE_SECONDS
    assert sum(at < since + 1.0 for at in times) <= math.ceil(2.2 * LIMIT / 60) + 1
    stretches = [0] * int(60.0 * MINUTES / STRETCH_SECONDS)
    for at in times:
        number = int((at - since) / STRETCH_SECONDS)
        if number < len(stretches):
            stretches[number] += 1
    counted, possible = use_of(LIMIT, times, Course(since, since + 60.0 * MINUTES))
    print(database, stretches, f"{counted / possible:.2%}", worst_window(all_times, 60.0))
    assert all(abs(count - EVEN) <= SLACK for count in stretches), stretches
    assert counted >= math.floor(USED_WITH_QUICK_REPLIES * possible)
    assert worst_window(all_times, 60.0) <= LIMIT
