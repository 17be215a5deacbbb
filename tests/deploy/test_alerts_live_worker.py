"""Alerts of a worker that is gone, cut off, or sends too much; and none of one that is well.

A real Prometheus has this project's rules, in which an hour is half a minute.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.support.faulty import NAMES, OF_MAIL, fired, is_told_well, watched, without_workers
from tests.support.fleet import Company
from tests.support.office import open_office
from tests.support.outages import Load, moved_away
from tests.support.prometheus import FIRING, INACTIVE, require_prometheus
from tests.support.rabbitmq import unique_prefix
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.office import Office
    from tests.support.prometheus import PrometheusServer
    from tests.support.rabbitmq import RabbitServer

OF_WORKERS = (
    *("PostmeterWorkerAbsent", "PostmeterWorkerNotReady", "PostmeterLedgerDown"),
    *("PostmeterTargetDown", "PostmeterLimitExceeded", "PostmeterWorkerCrashing"),
)
GONE = {"PostmeterTargetDown", "PostmeterWorkerAbsent"}
LIMIT = 120
WELL_SECONDS = 10.0
"""In scaled time twenty minutes."""
PAUSE_SECONDS = 2.0
"""Between two kills; in scaled time four minutes."""
FAST_WINDOW_SECONDS = 5.0
"""What workers whose pace is broken take for a minute."""


@pytest.fixture(autouse=True)
def _prometheus() -> None:
    """Every test here needs one."""
    require_prometheus()


def test_every_alert_is_seen() -> None:
    """Each alert of the rules fires in one of these modules."""
    assert set(OF_WORKERS) | set(OF_MAIL) == NAMES
    assert not set(OF_WORKERS) & set(OF_MAIL)


def fires(prometheus: PrometheusServer, name: str, *, served: bool = True) -> None:
    """It fires, and tells what is wrong."""
    for alert in prometheus.wait_for_alert(name):
        is_told_well(alert, served=served)


@pytest.mark.slow
def test_a_worker_that_is_well_and_then_is_not(tmp_path: Path) -> None:
    """Under load none fires; then its processes, its ledger, and all of it are gone, one by one."""
    companies = (Company("acme", None), Company("paced", LIMIT))
    with (
        open_office(tmp_path / "office", companies=companies, processes=2) as office,
        watched(tmp_path / "prometheus", office.fleet.metrics_port) as prometheus,
    ):
        office.fleet.publish_batch("paced", 10 * LIMIT)
        with Load(office) as load:
            load.wait_for(20)  # before the first scrape no worker seems to be there
            time.sleep(WELL_SECONDS)
            # A scrape that a loaded machine answers too late is no fault of the worker's.
            late = prometheus.query(f"min_over_time(up[{WELL_SECONDS:.0f}s]) == 0")
            assert fired(prometheus, WELL_SECONDS) <= (GONE if late else set())
        with without_workers(office):
            fires(prometheus, "PostmeterWorkerAbsent")
        prometheus.wait_for_alert("PostmeterWorkerAbsent", INACTIVE)
        kill_until_told(office, prometheus)
        prometheus.wait_for_alert("PostmeterWorkerCrashing", INACTIVE)
        with moved_away(office.fleet.root / "state" / "ledger.db"):
            fires(prometheus, "PostmeterLedgerDown")
        prometheus.wait_for_alert("PostmeterLedgerDown", INACTIVE)
        assert office.fleet.stop() == 0
        fires(prometheus, "PostmeterTargetDown", served=False)
        fires(prometheus, "PostmeterWorkerAbsent", served=False)


def kill_until_told(office: Office, prometheus: PrometheusServer) -> None:
    """Kill worker processes, as a lack of memory does, until Prometheus tells of it."""

    def is_told() -> bool:
        for pid in office.fleet.worker_pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(PAUSE_SECONDS)
        return any(
            a.state == FIRING for a in prometheus.alerts().get("PostmeterWorkerCrashing", [])
        )

    wait_until(is_told, "the alert of workers that crash", 60.0)
    fires(prometheus, "PostmeterWorkerCrashing")


@pytest.mark.slow
def test_workers_whose_pace_is_broken(tmp_path: Path) -> None:
    """Slots that rest for seconds: the limit of a minute is exceeded, as the attempts are counted.

    What serves the metrics counts what servers accepted in 60 seconds, whatever the limiter takes
    for a minute.
    """
    companies = (Company("acme", None), Company("paced", 20))
    with (
        open_office(
            tmp_path / "office", companies=companies, window_seconds=FAST_WINDOW_SECONDS
        ) as office,
        watched(tmp_path / "prometheus", office.fleet.metrics_port) as prometheus,
    ):
        office.fleet.publish_batch("paced", 200)
        (alert,) = prometheus.wait_for_alert("PostmeterLimitExceeded")
        is_told_well(alert)
        assert alert.labels["scope"] == "company:paced"
        assert len(office.fleet.arrivals()) > 20


@pytest.mark.slow
@pytest.mark.rabbitmq
def test_workers_without_a_broker(tmp_path: Path, broker: RabbitServer) -> None:
    """RabbitMQ is stopped: no worker takes anything in, until it is there again."""
    with (
        open_office(tmp_path / "office", broker, prefix=unique_prefix("notready")) as office,
        watched(tmp_path / "prometheus", office.fleet.metrics_port) as prometheus,
    ):
        broker.stop()
        try:
            fires(prometheus, "PostmeterWorkerNotReady")
            assert prometheus.alerts().keys() == {"PostmeterWorkerNotReady"}
        finally:
            broker.start()
        prometheus.wait_for_alert("PostmeterWorkerNotReady", INACTIVE)
