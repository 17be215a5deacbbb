"""What the metrics say of the ledger, while it is written; what they cost; what Prometheus sees."""

from __future__ import annotations

import os
import socket
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.support.ledger import ACCEPTED, new_job
from tests.support.metrics_processes import Serving, of_acme
from tests.support.prometheus import PrometheusServer, require_prometheus
from tests.support.settings_tree import SMTP
from tests.support.waiting import wait_until
from worker.ledger import deliveries, endings, holds, workers
from worker.ledger.lanes import Lane, take
from worker.ledger.ledger import Ledger
from worker.ledger.rows import Claim, Terms
from worker.telemetry.metrics import ALL, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Connection

    from worker.ledger.clock import Now

ACME = {"scope": "company:acme"}
REGISTRATION = """
[microsoft_365]
tenant_id = "t"
client_id = "c"
client_secret = "s"
client_secret_expires = 2033-05-18
"""
WINDOW_SECONDS = 10.0


HOST = socket.gethostname()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger with one live worker."""
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    ledger.call(lambda c, now: workers.register(c, now, "w1", host=HOST, pid=1, version="1"))
    yield ledger
    ledger.close()


@pytest.fixture
def serving(tmp_path: Path, ledger: Ledger) -> Iterator[Serving]:
    """A process that serves what that ledger says, with a window of three seconds."""
    with Serving(tmp_path, window_seconds=WINDOW_SECONDS) as serving:
        yield serving


def accept(ledger: Ledger, first: int, count: int, body: bytes = b"{}") -> None:
    """Let some jobs of acme's jane wait, in one transaction."""

    def operation(connection: Connection, now: Now) -> None:
        for number in range(first, first + count):
            job = new_job(f"job-{number}", body=body, due_at=now.wall, enqueued_at=now.wall)
            assert deliveries.accept(connection, now, job)

    ledger.call(operation)


def deliver(ledger: Ledger, count: int) -> None:
    """Let some of them be accepted by the server, in one transaction."""

    def operation(connection: Connection, now: Now) -> None:
        for number in range(count):
            lane = Lane("acme", "jane", "batch")
            claim = take(
                connection,
                now,
                lane,
                [],
                worker="w1",
                token=f"{now.steady}-{number}",
                ahead_seconds=0,
            )
            assert isinstance(claim, Claim)
            deliveries.begin_claimed(
                connection, now, claim, terms=Terms("w1", "smtp", now.wall, "hold", 1.0)
            )
            assert endings.settle(
                connection, now, claim.job_id, claim.token, 1, ACCEPTED, begun=True
            )

    ledger.call(operation)


def test_window_against_limit(serving: Serving, ledger: Ledger) -> None:
    """The window follows what was accepted, the worst one stays, and both stand beside the limit."""
    accept(ledger, 0, 60)
    serving.wait_for("postmeter_waiting_jobs", 60, of_waiting())
    assert serving.value("postmeter_limit_emails_per_minute", {**ACME, "layer": "company"}) == 30
    assert serving.value("postmeter_window_emails", ACME) == 0
    assert serving.value("postmeter_drain_eta_seconds", {"company": "acme"}) == 2 * WINDOW_SECONDS
    deliver(ledger, 12)
    serving.wait_for("postmeter_window_emails", 12, ACME)
    assert serving.value("postmeter_limit_utilisation_ratio", ACME) == 0.4
    assert serving.value("postmeter_window_emails", {"scope": "all"}) == 12
    deliver(ledger, 3)
    serving.wait_for("postmeter_window_emails", 15, ACME)
    serving.wait_for("postmeter_window_emails", 0, ACME)
    assert serving.value("postmeter_window_worst_emails", ACME) == 15
    assert serving.value("postmeter_waiting_jobs", of_waiting()) == 45


def of_waiting() -> dict[str, str]:
    """The labels of what waits for acme's limit."""
    return {"company": "acme", "kind": "batch", "reason": "limit"}


def test_settings_and_holds_show(serving: Serving, ledger: Ledger) -> None:
    """An edit, an error in it, a hold and an empty line show within seconds."""
    accept(ledger, 0, 1)
    serving.wait_for("postmeter_waiting_jobs", 1, of_waiting())
    ledger.call(lambda c, now: holds.put_hold(c, now, "account:acme/jane", "acme/jane: too many x"))
    serving.wait_for("postmeter_holds", 1, {"target_kind": "account", "reason": "throttled"})
    serving.wait_for("postmeter_waiting_jobs", 1, {**of_waiting(), "reason": "held"})
    assert serving.value("postmeter_waiting_jobs", of_waiting()) == 0
    ledger.call(lambda c, _: holds.clear_hold(c, "account:acme/jane"))
    serving.wait_for("postmeter_holds", 0, {"target_kind": "account", "reason": "throttled"})
    loaded = serving.value("postmeter_settings_loaded_timestamp_seconds")
    serving.tree.write("companies/acme/company.toml", "[smtp]\nbatch_emails_per_min = 0\n")
    serving.wait_for("postmeter_settings_errors", 1, {"context": "acme"})
    assert serving.value("postmeter_limit_emails_per_minute", {**ACME, "layer": "company"}) == 30
    now_loaded = serving.value("postmeter_settings_loaded_timestamp_seconds")
    assert loaded is not None
    assert now_loaded is not None
    assert now_loaded > loaded


def test_the_emails_of_a_new_company_count_from_0(serving: Serving) -> None:
    """Before its first email, also where the settings have it only now: or rate() misses the first."""
    lost = {"kind": "send", "transport": "smtp", "outcome": "dead"}
    serving.wait_for("postmeter_emails_total", 0, {**lost, "company": "acme"})
    serving.tree.company("fresh", SMTP)
    serving.wait_for("postmeter_emails_total", 0, {**lost, "company": "fresh"})
    serving.start_counting().sent(2)
    assert serving.value("postmeter_emails_total", of_acme(outcome="sent")) == 2
    assert serving.value("postmeter_emails_total", of_acme(outcome="dead")) == 0


def test_ready_with_a_worker(serving: Serving, ledger: Ledger) -> None:
    """Ready while a worker lives that has nothing to complain of."""
    assert serving.wait_for_ready("1 of 1") == (200, "1 of 1 workers ready\n")
    assert serving.value("postmeter_workers") == 1
    ledger.call(lambda c, now: workers.beat(c, now, "w1", "not connected: postmeter.send"))
    why = "no worker is ready: not connected: postmeter.send\n"
    assert serving.wait_for_ready("no worker") == (503, why)


def test_a_worker_of_another_host_makes_none_ready_here(serving: Serving, ledger: Ledger) -> None:
    """Readiness is about the processes of one worker: another host's change nothing."""
    ledger.call(lambda c, now: workers.register(c, now, "w2", host="elsewhere", pid=1, version="1"))
    serving.wait_for("postmeter_workers_ready", 2)
    assert serving.wait_for_ready("1 of 1") == (200, "1 of 1 workers ready\n")
    ledger.call(lambda c, now: workers.beat(c, now, "w1", "not connected: postmeter.send"))
    assert serving.wait_for_ready("no worker is ready")[0] == 503
    serving.wait_for("postmeter_workers_ready", 1)
    ledger.call(lambda c, now: workers.bury(c, now, "w1"))
    assert serving.wait_for_ready("no worker process") == (503, "no worker process is alive\n")


def test_without_a_ledger(tmp_path: Path) -> None:
    """A ledger that cannot be opened is named in readiness; metrics go on without it."""
    (tmp_path / "ledger.db").write_bytes(b"this is no database" * 100)
    with Serving(tmp_path) as serving:
        status, why = serving.wait_for_ready("the ledger cannot be used now")
        assert (status, why.count("\n")) == (503, 1)
        serving.start_counting().sent(3)
        assert serving.value("postmeter_ledger_up") == 0
        assert serving.value("postmeter_emails_total", of_acme(outcome="sent")) == 3
        assert serving.value("postmeter_workers") is None
        assert serving.get("/healthz")[0] == 200


@pytest.mark.slow
def test_cost_of_a_long_backlog(serving: Serving, ledger: Ledger) -> None:
    """With 100,000 jobs waiting a scrape takes less than 0.2 s, also the one that asks the ledger."""
    body = os.urandom(500)
    for first in range(0, 100_000, 5_000):
        accept(ledger, first, 5_000, body)
    serving.wait_for("postmeter_waiting_jobs", 100_000, of_waiting())
    took = []
    for _ in range(5):
        time.sleep(1.5)
        started = time.perf_counter()
        assert serving.value("postmeter_waiting_jobs", of_waiting()) == 100_000
        took.append(time.perf_counter() - started)
    assert min(took) < 0.2


def test_prometheus_scrapes_every_metric(serving: Serving, ledger: Ledger, tmp_path: Path) -> None:
    """A real Prometheus finds the page well formed, and every metric of the list on it."""
    require_prometheus()
    more = "batch_emails_per_min = 30\n[limits]\nbatch_emails_per_day = 900\n"
    serving.tree.company("acme", SMTP + more + REGISTRATION)
    accept(ledger, 0, 20)
    deliver(ledger, 1)
    ledger.call(lambda c, now: holds.put_hold(c, now, "server:mx:25", "mx:25: busy"))
    by_day = {"scope": "company:acme:day", "layer": "company"}
    serving.wait_for("postmeter_limit_emails_per_day", 900, by_day)
    serving.start_counting().sent(1)
    serving.wait_for("postmeter_window_emails", 1, ACME)
    assert PrometheusServer.lint(serving.get("/metrics")[1]) == ""
    with PrometheusServer(tmp_path / "prometheus", serving.port) as prometheus:
        prometheus.wait_for("up", 1)
        for metric in ALL:
            suffix = "_count" if metric.kind is Kind.HISTOGRAM else ""
            wait_until(partial(prometheus.query, metric.name + suffix), metric.name)
        assert prometheus.query('postmeter_window_worst_emails{scope="company:acme"}') == [1.0]
