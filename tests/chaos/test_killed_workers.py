"""SIGKILL and SIGSTOP: the bound holds, nothing is lost, nothing doubles but the unknown.

The window is 5 s, the code is the same; the receiving server is the witness.
"""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.fleet import Company, Fleet, measure
from tests.support.waiting import GENEROUS_SECONDS, gone, wait_until

if TYPE_CHECKING:
    from pathlib import Path

WINDOW_SECONDS = 5.0
LIMIT = 40
MAILS = 200


def judge(fleet: Fleet, company: Company) -> None:
    """Wait until everything is final, then ask the receiving server."""
    assert fleet.wait_for(MAILS, 120), "mails are missing"
    wait_until(lambda: fleet.open_jobs() == 0, "the end of every job")
    seen = measure(fleet, company, settle_seconds=0)
    assert seen.worst <= LIMIT
    assert seen.different == MAILS
    assert seen.doubled_not_unknown == 0


def test_killed_processes_lose_nothing_and_hold_the_limit(
    tmp_path: Path, way_in: tuple[str, str]
) -> None:
    """A process killed every four seconds: no window over the limit, every mail arrives."""
    company = Company("acme", LIMIT)
    with Fleet(
        tmp_path,
        (company,),
        processes=2,
        broker_url=way_in[0],
        prefix=way_in[1],
        window_seconds=WINDOW_SECONDS,
        delay_seconds=0.4,
        slow_seconds=1.0,
    ) as fleet:
        fleet.publish_batch("acme", MAILS)
        fleet.kill_every(4.0)
        fleet.wait_for(int(MAILS * 0.8), 60)
        fleet.spare()
        judge(fleet, company)
        assert fleet.kills >= 2


def test_a_process_that_stood_still_is_reaped_and_harmless(tmp_path: Path) -> None:
    """SIGSTOP longer than the lease: its jobs go on elsewhere, its late replies count."""
    company = Company("acme", LIMIT)
    with Fleet(
        tmp_path, (company,), processes=2, window_seconds=WINDOW_SECONDS, delay_seconds=0.4
    ) as fleet:
        fleet.publish_batch("acme", MAILS)
        assert fleet.wait_for(20, GENEROUS_SECONDS)
        pid = fleet.signal_one(signal.SIGSTOP)
        assert pid is not None
        time.sleep(13)
        os.kill(pid, signal.SIGCONT)
        judge(fleet, company)


def test_a_killed_supervisor_takes_its_processes_along(tmp_path: Path) -> None:
    """SIGKILL of the parent ends every child; a new start goes on where they ended."""
    company = Company("acme", LIMIT)
    with Fleet(
        tmp_path, (company,), processes=2, window_seconds=WINDOW_SECONDS, delay_seconds=0.2
    ) as fleet:
        fleet.publish_batch("acme", MAILS)
        assert fleet.wait_for(30, GENEROUS_SECONDS)
        pids = fleet.worker_pids()
        fleet.kill_supervisor()
        wait_until(lambda: gone(*pids), "the end of every child")
        fleet.start()
        judge(fleet, company)


@pytest.mark.rabbitmq
@pytest.mark.timeout(240)
def test_a_restarted_broker_loses_nothing(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """RabbitMQ is stopped in mid-batch and comes back: every mail arrives, none twice."""
    from tests.support.rabbitmq import MISSING, RabbitServer, unique_prefix

    if not RabbitServer.available():
        request.getfixturevalue("rabbitmq")  # skips or fails with the one reason
        pytest.skip(MISSING)
    company = Company("acme", LIMIT)
    with (
        RabbitServer() as server,
        Fleet(
            tmp_path,
            (company,),
            processes=2,
            broker_url=server.url,
            prefix=unique_prefix("restart"),
            window_seconds=WINDOW_SECONDS,
        ) as fleet,
    ):
        fleet.publish_batch("acme", MAILS)
        assert fleet.wait_for(20, GENEROUS_SECONDS)
        server.restart()
        judge(fleet, company)
        assert fleet.stop() == 0
