"""The rules of Prometheus: as they are built, as promtool reads them, each alert firing and not."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml

from deploy.prometheus import build, recordings
from deploy.prometheus.alerts import NAMES, alerts
from deploy.prometheus.layout import LINE, laid_out
from deploy.prometheus.model import Alert, Dialect
from deploy.prometheus.thresholds import DAY, Thresholds
from tests.support.promql import readings
from tests.support.rules import exported, recorded, rules
from worker.telemetry import metrics

if TYPE_CHECKING:
    from pathlib import Path

FOLDER: Final = build.RULES.parent
CASES: Final = sorted((FOLDER / "tests").glob("*.yaml"))
TEMPLATED: Final = re.compile(r"{{.*?}}")
RULES: Final = rules()
ALERTS: Final = alerts(Dialect())


def promtool(*arguments: str | Path) -> str:
    """Run it; what it said where it was content, else the test fails with it."""
    done = subprocess.run(
        ["promtool", *arguments], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("path", build.texts({}), ids=lambda path: path.name)
def test_what_is_committed_is_what_is_built(path: Path) -> None:
    """``python deploy/prometheus/build.py`` writes both anew."""
    assert path.read_text("utf-8") == build.texts(build.document())[path]


def test_promtool_takes_the_rules_and_the_configuration() -> None:
    """Every rule of the one file, by way of the other."""
    assert f"{len(RULES)} rules found" in promtool("check", "config", FOLDER / "prometheus.yml")


@pytest.mark.parametrize(
    "arguments", [("--group-by", "namespace,job"), ("--set", "objective=0.999", "--job", "mail")]
)
def test_other_installations_have_rules_of_their_own(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    """With other options promtool takes them too, and what is committed stays as it is."""
    path = tmp_path / "rules.yaml"
    committed = build.RULES.read_text("utf-8")
    assert build.main([*arguments, "--output", str(path)]) == 0
    assert path.read_text("utf-8") != committed
    assert build.RULES.read_text("utf-8") == committed
    promtool("check", "rules", path)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_promtool_finds_each_case_as_it_should_be(path: Path) -> None:
    """Alerts with their words, and recorded values, over hours that take a second."""
    promtool("test", "rules", path)


def test_each_alert_is_seen_firing_and_quiet() -> None:
    """In each severity that it has; quiet in a case where its metrics are there."""
    fires: set[tuple[str, str]] = set()
    quiet: set[str] = set()
    for case in (test for path in CASES for test in yaml.safe_load(path.read_text())["tests"]):
        for checked in case.get("alert_rule_test", ()):
            quiet |= set() if checked["exp_alerts"] else {checked["alertname"]}
            for expected in checked["exp_alerts"]:
                fires.add((checked["alertname"], expected["exp_labels"]["severity"]))
    assert fires == {(alert.name, alert.severity) for alert in ALERTS}
    assert quiet == set(NAMES)


def test_each_recorded_value_is_looked_at() -> None:
    """By a case, or by an alert that has cases."""
    read = {one.name for alert in ALERTS for one in readings(alert.expr)}
    cases = " ".join(path.read_text() for path in CASES)
    recorded = {rule["record"] for rule in RULES if "record" in rule}
    assert not {name for name in recorded - read if name not in cases}


def test_every_metric_and_label_exists() -> None:
    """In the code, or recorded by a rule further up; so no rule can rot."""
    known = exported()
    known |= recorded(known)
    written: set[str] = set(exported())
    for rule in RULES:
        for one in readings(rule["expr"]):
            assert one.name in written, rule
            assert one.matched | one.grouped <= known[one.name], rule
        written.add(rule.get("record", ""))


def test_a_share_in_time_ends_at_a_bucket() -> None:
    """The threshold is one of the histogram's, written as Prometheus' text format has it."""
    (in_time,) = (rule["expr"] for rule in RULES if rule.get("record") == recordings.IN_TIME)
    seconds = Thresholds().in_time_seconds
    assert seconds in metrics.SLOT_WAIT.buckets
    assert f'le="{seconds}"' in in_time


def test_each_alert_tells_what_to_do_and_where() -> None:
    """Severity, a summary of one line, a description, its page and the dashboard."""
    assert {alert.name for alert in ALERTS} == set(NAMES)
    told = build.document(site="https://mail.example/", grafana="https://grafana.example")
    for rule in told["groups"][-1]["rules"]:
        notes = rule["annotations"]
        assert set(rule["labels"]) == {"severity"}
        assert notes["runbook_url"] == f"https://mail.example/runbook/{rule['alert']}"
        assert notes["dashboard_url"] == "https://grafana.example/d/postmeter-overview"
        assert len(TEMPLATED.sub("", notes["summary"])) < 90
        assert notes["description"].endswith(".")


def _durations(document: dict[str, Any]) -> list[str]:
    return [rule.get("for", "") for group in document["groups"] for rule in group["rules"]]


def test_time_can_pass_faster() -> None:
    """For tests with real workers: an hour is a minute, in ``for``, ranges and thresholds alike."""
    fast = build.document(scale=60)
    assert {"10s", "15s", "2s", "1s", "5s"} == {each for each in _durations(fast) if each}
    (drain,) = (each for each in fast["groups"][-1]["rules"] if each["alert"].endswith("TooLong"))
    assert f"> {DAY / 60:g}" in drain["expr"]
    stalled = next(each for each in fast["groups"][-1]["rules"] if "Stalled" in each["alert"])
    assert "[5s]" in stalled["expr"]
    assert {group["interval"] for group in fast["groups"]} == {"1s"}


def test_a_threshold_is_changed_in_one_place(tmp_path: Path) -> None:
    """By its name; what is no name, or no number, is refused with the names there are."""
    path = tmp_path / "rules.yaml"
    build.main(["--set", "drain_seconds=7200", "--output", str(path)])
    assert "company:postmeter_drain_eta_seconds:max > 7200" in path.read_text()
    with pytest.raises(SystemExit, match="no threshold is called 'drain'; there are drain_seconds"):
        build.main(["--set", "drain=1"])
    with pytest.raises(SystemExit, match="'soon' is no number for drain_seconds"):
        build.main(["--set", "drain_seconds=soon"])


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: f"{alert.name}-{alert.severity}")
def test_layout_changes_nothing_but_spaces(alert: Alert) -> None:
    """And all that is not one selector is on short lines."""
    shown = laid_out(alert.expr)
    assert "".join(shown.split()) == "".join(alert.expr.split())
    assert all(len(line) <= LINE or "{" in line for line in shown.splitlines())
