"""A private Prometheus that scrapes what it is given and evaluates rules, and ``promtool``.

::

    with PrometheusServer(tmp_path / "prometheus", fleet.metrics_port, rules=[file]) as prometheus:
        prometheus.wait_for("up", 1)
        prometheus.query("postmeter_workers")               # [1.0]
        prometheus.vectors("postmeter_workers")             # [Sample({"instance": …}, 1.0)]
        prometheus.range("up", start, end, step_seconds=1)  # [Series(labels, [(time, value), …])]
        prometheus.wait_for_alert("PostmeterDeadLetters")   # fires; gives its labels and annotations
        prometheus.rules()                                  # of each: its health, its last error
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import time
import urllib.parse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import pytest

from tests.support.rabbitmq import free_port

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

MISSING = "no Prometheus here: install prometheus (Debian: apt-get install prometheus)"
PATIENCE_SECONDS = 60.0
LOOK_SECONDS = 0.2
INACTIVE, PENDING, FIRING = "inactive", "pending", "firing"
"""How an alert stands, in Prometheus's words; inactive ones are not listed."""


class Sample(NamedTuple):
    """One value of an expression."""

    labels: dict[str, str]
    value: float


class Series(NamedTuple):
    """The values of an expression over time, as (Unix seconds, value)."""

    labels: dict[str, str]
    points: list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert that is pending or firing; ``labels`` are without its name."""

    name: str
    state: str
    labels: dict[str, str]
    annotations: dict[str, str]


@dataclass(frozen=True, slots=True)
class RuleState:
    """One rule as Prometheus has evaluated it; ``health`` is ok, err, or unknown before the first time.

    Attributes:
        kind: recording or alerting.
        took_seconds: its last evaluation.
    """

    name: str
    kind: str
    expression: str
    health: str
    last_error: str
    took_seconds: float


def require_prometheus() -> None:
    """Skip the test where there is no Prometheus; fail it in CI, which has one."""
    if shutil.which("prometheus") is None:
        if os.environ.get("CI"):
            pytest.fail(MISSING)
        pytest.skip(MISSING)


class PrometheusServer:
    """One Prometheus on a free port, with its data in a folder of the test's own.

    Args:
        folder: is made.
        target_port: of 127.0.0.1, where there is one target.
        targets: further ones, as ``host:port``.
        rules: files of rules.
        scrape_seconds: how often it scrapes, and evaluates the rules.
        job: the targets' label.
    """

    def __init__(
        self,
        folder: Path,
        target_port: int | None = None,
        *,
        targets: Iterable[str] = (),
        rules: Sequence[Path] = (),
        scrape_seconds: float = 1.0,
        job: str = "postmeter",
    ) -> None:
        folder.mkdir()
        all_targets = [*([] if target_port is None else [f"127.0.0.1:{target_port}"]), *targets]
        every = f"{round(scrape_seconds * 1000)}ms"
        config = {
            "global": {
                "scrape_interval": every,
                "scrape_timeout": every if scrape_seconds < 10 else "10s",
                "evaluation_interval": every,
            },
            "rule_files": [str(path) for path in rules],
            "scrape_configs": [{"job_name": job, "static_configs": [{"targets": all_targets}]}],
        }
        path = folder / "prometheus.yml"
        path.write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._log_path = folder / "log"
        self._log = self._log_path.open("w", encoding="utf-8")
        self._process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={path}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self._port}",
            ],
            stdout=self._log,
            stderr=subprocess.STDOUT,
            cwd=folder,
        )

    def __enter__(self) -> Self:
        """Wait until it answers.

        Raises:
            AssertionError: it does not, or has ended; the message has what it says.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        try:
            while not self._is_ready():
                alive = self._process.poll() is None and time.monotonic() < deadline
                assert alive, f"Prometheus does not answer: {self._log_path.read_text()}"
                time.sleep(0.05)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()

    def query(self, expression: str) -> list[float]:
        """The values that an expression has now."""
        return [sample.value for sample in self.vectors(expression)]

    def vectors(self, expression: str, at: float | None = None) -> list[Sample]:
        """The values that an expression has now, or had at a time (Unix seconds), with their labels.

        Raises:
            AssertionError: the expression is wrong.
        """
        when = {} if at is None else {"time": str(at)}
        data = self._api("query", query=expression, **when)
        if data["resultType"] == "scalar":
            return [Sample({}, float(data["result"][1]))]
        return [Sample(one["metric"], float(one["value"][1])) for one in data["result"]]

    def range(
        self, expression: str, start: float, end: float, step_seconds: float = 1.0
    ) -> list[Series]:
        """The values that an expression had from ``start`` to ``end`` (Unix seconds).

        Raises:
            AssertionError: the expression is wrong.
        """
        span = {"start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step_seconds:g}"}
        data = self._api("query_range", query=expression, **span)
        return [
            Series(one["metric"], [(float(t), float(v)) for t, v in one["values"]])
            for one in data["result"]
        ]

    def wait_for(
        self, expression: str, value: float, timeout_seconds: float = PATIENCE_SECONDS
    ) -> None:
        """Ask until an expression has one value."""
        deadline = time.monotonic() + timeout_seconds
        while (found := self.query(expression)) != [value]:
            assert time.monotonic() < deadline, f"{expression} is {found}"
            time.sleep(LOOK_SECONDS)

    def alerts(self) -> dict[str, list[Alert]]:
        """The alerts that are pending or firing, by name."""
        found: dict[str, list[Alert]] = {}
        for one in self._api("alerts")["alerts"]:
            labels = dict(one["labels"])
            name = labels.pop("alertname")
            alert = Alert(name, one["state"], labels, one["annotations"])
            found.setdefault(name, []).append(alert)
        return found

    def wait_for_alert(
        self, name: str, state: str = FIRING, timeout_seconds: float = PATIENCE_SECONDS
    ) -> list[Alert]:
        """Ask until an alert stands like that; every one of that name and state.

        Args:
            state: ``FIRING``, ``PENDING``, or ``INACTIVE``: none of that name is left.

        Raises:
            AssertionError: it never did; the message says how its expression stands.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            alerts = self.alerts().get(name, [])
            fitting = [alert for alert in alerts if alert.state == state]
            if fitting or (state == INACTIVE and not alerts):
                return fitting
            assert time.monotonic() < deadline, f"not {state}: {self.explain(name)}"
            time.sleep(LOOK_SECONDS)

    def rules(self) -> list[RuleState]:
        """Every rule, as it was evaluated last."""
        return [
            RuleState(
                one["name"],
                one["type"],
                one["query"],
                one["health"],
                one.get("lastError", ""),
                float(one["evaluationTime"]),
            )
            for group in self._api("rules")["groups"]
            for one in group["rules"]
        ]

    def explain(self, name: str) -> str:
        """How an alert and its expression stand, for a test that has waited in vain."""
        values = {r.expression: self.vectors(r.expression) for r in self.rules() if r.name == name}
        return f"{name}: {self.alerts().get(name, [])}, {values or 'there is no such rule'}"

    def _api(self, path: str, **parameters: str) -> Any:
        answer = json.loads(self._get(f"/api/v1/{path}?{urllib.parse.urlencode(parameters)}")[1])
        assert answer["status"] == "success", f"{parameters or path}: {answer.get('error')}"
        return answer["data"]

    def _is_ready(self) -> bool:
        try:
            return self._get("/-/ready")[0] == http.HTTPStatus.OK
        except OSError:
            return False

    def _get(self, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    @staticmethod
    def lint(page: str) -> str:
        """What ``promtool`` has to say against a page; empty for a good one."""
        done = subprocess.run(
            ["promtool", "check", "metrics"],
            input=page,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        return done.stdout
