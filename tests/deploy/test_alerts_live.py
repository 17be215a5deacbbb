"""Alerts of mail, servers and settings, against a worker with each fault: they fire, and are gone when it is cured.

A real Prometheus has this project's rules, in which an hour is half a minute.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from deploy.prometheus import recordings
from tests.support.faulty import OF_MAIL, is_told_well, watch_until, watched
from tests.support.lively import open_lively, write_ending
from tests.support.prometheus import INACTIVE, require_prometheus
from tests.support.scripted import held, postmeter, write_password
from tests.support.secrets_watch import secret
from tests.support.smtpd import SmtpServer
from tests.support.waiting import wait_until
from worker.ledger import holds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.lively import Lively
    from tests.support.prometheus import Alert, PrometheusServer

BURN = "PostmeterErrorBudgetBurn"
CERTIFICATE_DAYS = 0.05
"""In scaled time six days."""


@dataclass(slots=True)
class Sick:
    """A worker with every fault at once, and what has fired."""

    lively: Lively
    prometheus: PrometheusServer
    seen: dict[str, list[Alert]]


@pytest.fixture(scope="module")
def sick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sick]:
    """Let everything happen that can become of mail, until all of these alerts have fired."""
    require_prometheus()
    root = tmp_path_factory.mktemp("sick")
    with (
        open_lively(root / "lively", certificate_days=CERTIFICATE_DAYS, secret_days=0) as lively,
        watched(root / "prometheus", lively.metrics_port) as prometheus,
    ):
        lively.happen()
        lively.stop_tokens()

        def go_on(missing: set[str]) -> None:
            if "PostmeterTokenExpired" in missing:
                lively.send("cloud")
            if BURN in missing:
                lively.send("mixed", 3, to="gone")

        yield Sick(lively, prometheus, watch_until(prometheus, OF_MAIL, go_on))


@pytest.mark.parametrize("name", OF_MAIL)
def test_an_alert_fires_where_its_fault_is(sick: Sick, name: str) -> None:
    """It tells what is wrong in words, and the worker serves its page of the runbook."""
    for alert in sick.seen[name]:
        is_told_well(alert)


def test_no_alert_fires_of_what_is_well(sick: Sick) -> None:
    """The limits are kept, and no trouble of mail is told as one of the worker or its ledger.

    That the worker is down seems so to Prometheus where a loaded machine answers a scrape too late.
    """
    late = {"PostmeterTargetDown", "PostmeterWorkerAbsent"}
    assert set(sick.seen) - late == set(OF_MAIL)


def test_alerts_name_what_is_wrong(sick: Sick) -> None:
    """Their labels are those of the fault and of no other."""

    def labels(name: str, label: str) -> set[str]:
        return {alert.labels.get(label, "") for alert in sick.seen[name]}

    assert labels("PostmeterSettingsInvalid", "context") == {"broken"}
    assert labels("PostmeterDrainTooLong", "company") == {"slow"}
    assert labels("PostmeterUnknownEmails", "company") == {"mixed"}
    assert "account" in labels("PostmeterThrottled", "target_kind")
    ends = {
        (a.labels["owner"], a.labels["severity"]) for a in sick.seen["PostmeterCredentialExpiring"]
    }
    app = f"_app/{sick.lively.authority.client_id}"
    assert ends == {(app, "warning"), ("_app/ending", "critical")}
    assert labels("PostmeterTokenExpired", "owner") == {app}


def test_every_rule_has_been_evaluated_and_has_data(sick: Sick) -> None:
    """No rule has an error, and each series that is written down has values."""
    rules = sick.prometheus.rules()
    assert {(rule.name, rule.last_error) for rule in rules if rule.health != "ok"} == set()
    written = {rule.name for rule in rules if rule.kind == "recording"}
    assert recordings.WORKERS_WANTED in written
    never = {name for name in written if not sick.prometheus.query(f"count_over_time({name}[1h])")}
    assert never == set()


@pytest.mark.slow
def test_they_are_gone_when_the_faults_are_cured(sick: Sick) -> None:
    """Right settings, passwords, servers and tokens, raised limits: nothing fires any more."""
    with cured(sick.lively):
        for name in set(OF_MAIL) - {BURN}:
            sick.prometheus.wait_for_alert(name, INACTIVE)
        # What was lost stays lost: that the budget of days is thinner is told for hours.
        burning = f'ALERTS{{alertname="{BURN}", alertstate="firing", severity="critical"}}'
        sick.prometheus.wait_for(f"count({burning}) or vector(0)", 0)


@contextmanager
def cured(lively: Lively) -> Iterator[None]:
    """Do what the runbook tells to do."""
    companies = lively.settings / "companies"
    broken, slow = companies / "broken" / "company.toml", companies / "slow" / "company.toml"
    broken.write_text(broken.read_text().replace("port = 70000 # ", "port = "))
    slow.write_text(slow.read_text().replace("per_min = 1\n", "per_min = 6000\n"))
    write_password(companies / "locked" / "users", "robot", secret("right"))
    lively.office.settings_file("companies/absent/company.toml", "replicate_from_system = true\n")
    lively.office.settings_file(
        "companies/absent/users/robot.toml", '[email]\naddress = "robot@absent.example"\n'
    )
    lively.authority.failing = None
    lively.authority.new_certificate(lively.certificate_file, days=90)
    write_ending(lively.settings, 400)
    lively.hurried.rules.clear()
    lively.hanging.rules.clear()
    lively.hanging.drop_all()
    with SmtpServer(port=lively.dark_port):
        for target in set(held(lively.office)) - {"company:paused"}:
            clear(lively, target)
        wait_until(lambda: set(held(lively.office)) == {"company:paused"}, "the end of holds")
        postmeter(lively.office, "dead", "drop", "--all", "--yes")
        postmeter(lively.office, "unknown", "mark-sent", "--all")
        yield


def clear(lively: Lively, target: str) -> None:
    """End a hold, as `postmeter resume` does, which complains of one that has just ended by itself."""
    lively.office.fleet.ledger.call(lambda c, _: holds.clear_hold(c, target))
