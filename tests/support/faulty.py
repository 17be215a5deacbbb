"""Prometheus with this project's own rules, in which time passes faster, beside a worker in trouble.

The ranges, ``for`` and thresholds of the rules are divided by ``SCALE``; the worker is as it is in
service, and so is each fault.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from deploy.prometheus import build
from deploy.prometheus.alerts import alerts
from deploy.prometheus.model import Dialect
from tests.support.prometheus import FIRING, PrometheusServer
from tests.support.waiting import GENEROUS_SECONDS, gone, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from tests.support.office import Office
    from tests.support.prometheus import Alert

SCALE: Final = 120.0
"""An hour is 30 seconds."""
SCRAPE_SECONDS: Final = 0.5
PATIENCE_SECONDS: Final = 100.0
"""For what takes half a minute on an idle machine."""
RUNBOOK: Final = Path(__file__).parents[2] / "docs" / "runbook"
NAMES: Final = frozenset(alert.name for alert in alerts(Dialect()))
OF_MAIL: Final = (
    *("PostmeterAccountHeld", "PostmeterCredentialExpiring", "PostmeterDeadLetters"),
    *("PostmeterDeliveryStalled", "PostmeterDrainTooLong", "PostmeterErrorBudgetBurn"),
    *("PostmeterJobsTooOld", "PostmeterSettingsInvalid", "PostmeterThrottled"),
    *("PostmeterTokenExpired", "PostmeterUnknownEmails"),
)
"""Those that fire while a worker works, because of mail, servers or settings."""
_ANNOTATIONS: Final = {"summary", "description", "runbook_url", "dashboard_url"}
_UNRENDERED: Final = re.compile(r"<no value>|\{\{|\}\}|<error|%!|NaN|  |\(\)| [,.:;]")
"""What a template leaves where it fails; of a label that is not there, a gap between words."""
_TITLE: Final = re.compile(r"^# (.+)$", re.MULTILINE)


@contextmanager
def watched(
    folder: Path, *ports: int, scrape_seconds: float = SCRAPE_SECONDS
) -> Iterator[PrometheusServer]:
    """Let a Prometheus with the rules watch workers by their metrics' ports.

    The runbook's addresses are those of the first one. When the block begins, every target is
    scraped and every rule has been evaluated.

    Args:
        folder: is made.
    """
    folder.mkdir()
    rules = folder / "postmeter.rules.yaml"
    site = f"http://127.0.0.1:{ports[0]}"
    rules.write_text(json.dumps(build.document(site=site, scale=SCALE)))  # JSON is YAML
    targets = [f"127.0.0.1:{port}" for port in ports]
    with PrometheusServer(
        folder / "server", targets=targets, rules=[rules], scrape_seconds=scrape_seconds
    ) as prometheus:
        prometheus.wait_for("sum(up)", len(ports))
        wait_until(lambda: all(rule.health == "ok" for rule in prometheus.rules()), "every rule")
        yield prometheus


def fired(prometheus: PrometheusServer, within_seconds: float) -> set[str]:
    """The names of the alerts that have fired at any time of the last seconds."""
    firing = f'last_over_time(ALERTS{{alertstate="firing"}}[{within_seconds * 1000:.0f}ms])'
    return {sample.labels["alertname"] for sample in prometheus.vectors(firing)}


def is_told_well(alert: Alert, *, served: bool = True) -> None:
    """A person who gets this alert understands it, and finds its page where it says.

    Args:
        served: whether the worker that serves the page is there.
    """
    assert alert.state == FIRING
    assert alert.labels["severity"] in {"critical", "warning"}
    assert set(alert.annotations) == _ANNOTATIONS
    for name, text in alert.annotations.items():
        assert text.strip() == text != "", name
        assert not _UNRENDERED.search(text), f"{alert.name}: {name}: {text}"
    url = alert.annotations["runbook_url"]
    assert url.endswith(f"/runbook/{alert.name}")
    page = RUNBOOK / f"{alert.name}.md"
    title = _TITLE.search(page.read_text("utf-8"))
    assert title is not None, page
    if served:
        status, shown = _fetched(url)
        assert status == http.HTTPStatus.OK
        assert f"<h1>{title[1]}</h1>" in shown


def _fetched(url: str) -> tuple[int, str]:
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.netloc, timeout=GENEROUS_SECONDS)
    try:
        connection.request("GET", where.path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def watch_until(
    prometheus: PrometheusServer, names: Collection[str], act: Callable[[set[str]], object]
) -> dict[str, list[Alert]]:
    """Watch until each of these alerts has fired; those of each name, as they fired first.

    Args:
        act: what is done again and again meanwhile, told which have not fired yet.

    Raises:
        AssertionError: one of them never fired; the message says how its expression stands.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    seen: dict[str, list[Alert]] = {}
    while missing := set(names) - seen.keys():
        if time.monotonic() > deadline:
            raise AssertionError("; ".join(map(prometheus.explain, sorted(missing))))
        act(missing)
        time.sleep(SCRAPE_SECONDS)
        for name, alerts_of_name in prometheus.alerts().items():
            firing = [alert for alert in alerts_of_name if alert.state == FIRING]
            if firing:
                seen.setdefault(name, firing)
    return seen


@contextmanager
def without_workers(office: Office) -> Iterator[None]:
    """Let every worker process be gone, and their supervisor stand still, so that none comes back.

    The process that serves metrics goes on.
    """
    supervisor, pids = office.fleet.supervisor_pid, office.fleet.worker_pids()
    os.kill(supervisor, signal.SIGSTOP)
    try:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: gone(*pids), "the end of every worker")
        yield
    finally:
        os.kill(supervisor, signal.SIGCONT)
