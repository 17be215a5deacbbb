"""Alerts where two hosts serve one installation: what both tell is told once, what one has is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from deploy.prometheus import recordings
from tests.support.faulty import is_told_well, watched
from tests.support.fleet import Company, Fleet
from tests.support.fleet_group import Host
from tests.support.prometheus import INACTIVE, require_prometheus
from tests.support.rabbitmq import free_port
from tests.support.waiting import wait_until
from worker.telemetry import metrics

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.prometheus import PrometheusServer

JOBS = 300


def fires_for(prometheus: PrometheusServer, name: str, port: int) -> None:
    """One warning fires; where it names a host, it is the one at this port."""
    (alert,) = prometheus.wait_for_alert(name)
    is_told_well(alert)
    assert alert.labels["severity"] == "warning"
    assert alert.labels.get("instance", f"127.0.0.1:{port}") == f"127.0.0.1:{port}"


def lead(way: Path, to: str) -> None:
    """Let a link lead somewhere else from now on."""
    new = way.with_name("new-way")
    new.symlink_to(to)
    new.replace(way)


@pytest.mark.slow
def test_one_of_two_hosts_is_cut_off(tmp_path: Path) -> None:
    """The second host has no way in, then no ledger: a warning each, and the first works on."""
    require_prometheus()
    root, port = tmp_path / "fleet", free_port()
    way = root / "way"  # to the one ledger, as the second host knows it
    inbox = root / "second-inbox.db"
    second = Host(
        environ={
            "POSTMETER_METRICS_PORT": str(port),
            "POSTMETER_LEDGER_URL": f"sqlite:///{way / 'ledger.db'}",
            "POSTMETER_BROKER_URL": f"embedded:{inbox}",
        }
    )
    for name in ("state", "elsewhere"):
        (root / name).mkdir(parents=True)
    lead(way, "state")
    inbox.mkdir()  # where a file should be
    fleet = Fleet(root, (Company("paced", 60),), 2, views=2, hosts=(Host(), second))
    with (
        fleet,
        watched(tmp_path / "prometheus", fleet.metrics_port, port) as prometheus,
    ):
        fleet.publish_batch("paced", JOBS)
        prometheus.wait_for(f"count({metrics.WORKERS.name} == 2)", 2)
        fires_for(prometheus, "PostmeterWorkerNotReady", port)
        inbox.rmdir()
        prometheus.wait_for_alert("PostmeterWorkerNotReady", INACTIVE)
        wait_until(lambda: prometheus.query(f"sum({metrics.WAITING.name}) > {JOBS}"), "both tell")
        wait_until(lambda: prometheus.query(recordings.WAITING), "told once")
        assert prometheus.query(f"sum({recordings.WAITING}) > {JOBS}") == []
        lead(way, "elsewhere")
        fires_for(prometheus, "PostmeterLedgerDown", port)
        lead(way, "state")
        prometheus.wait_for_alert("PostmeterLedgerDown", INACTIVE)
        assert fleet.wait_for(fleet.sink.count + 1, 60.0)
