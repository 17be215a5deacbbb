"""What a panel's queries return, asked of a Prometheus as Grafana asks: series, rows, marks."""

from __future__ import annotations

import json
import math
import re
import subprocess
import time
import urllib.parse
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tests.support.dashboards import filled
from tests.support.rabbitmq import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

STEP_SECONDS: Final = 15
RATE_SECONDS: Final = 60
"""``$__rate_interval``: four scrapes."""
_LABEL: Final = re.compile(r"\{\{\s*(\w+)\s*\}\}")


@dataclass(frozen=True, slots=True)
class Span:
    """The time that is shown, in Unix seconds."""

    start: float
    end: float

    @property
    def times(self) -> list[float]:
        """The moments at which there may be a value."""
        count = int((self.end - self.start) / STEP_SECONDS)
        return [self.start + n * STEP_SECONDS for n in range(count + 1)]


@dataclass(slots=True)
class Series:
    """One line of a graph: its value at each of the span's times, or None."""

    name: str
    ref: str
    labels: dict[str, str]
    values: list[float | None]

    @property
    def known(self) -> list[float]:
        """The values that there are."""
        return [value for value in self.values if value is not None]


@dataclass(frozen=True, slots=True)
class Mark:
    """One annotation: where it begins and ends, and what it says."""

    start: float
    end: float
    text: str
    color: str


@dataclass(slots=True)
class Source:
    """A Prometheus, the time to show, and the values of the dashboard's variables."""

    url: str
    span: Span
    variables: dict[str, str] = field(default_factory=dict)

    def fill(self, text: str) -> str:
        """A text with the variables replaced, as titles and queries have them."""
        whole = f"{round(self.span.end - self.span.start)}s"
        times = {"__range": whole, "__rate_interval": f"{RATE_SECONDS}s"}
        return filled(text, {**times, "__interval": f"{STEP_SECONDS}s", **self.variables})

    def series(self, panel: Mapping[str, Any]) -> list[Series]:
        """What a panel's queries return over the time that is shown."""
        return [
            Series(_named(target, one["metric"]), target["refId"], one["metric"], values)
            for target in panel["targets"]
            for one, values in self._range(target["expr"])
        ]

    def now(self, target: Mapping[str, Any]) -> list[tuple[dict[str, str], float]]:
        """What one query returns at the end of that time: labels and value."""
        data = _ask(self.url, "query", query=self.fill(target["expr"]), time=f"{self.span.end:.0f}")
        return [(one["metric"], float(one["value"][1])) for one in data["result"]]

    def marks(self, annotation: Mapping[str, Any]) -> list[Mark]:
        """An annotation's marks: moments, and stretches where moments follow on one another."""
        found: list[Mark] = []
        for one, values in self._range(annotation["expr"]):
            pairs = zip(self.span.times, values, strict=True)
            at = [(t, v) for t, v in pairs if v is not None and v > 0]
            stamps = [v / 1000 if annotation.get("useValueForTime") else t for t, v in at]
            text = _LABEL.sub(lambda m, o=one: o["metric"].get(m[1], ""), annotation["titleFormat"])  # type: ignore[misc]  # mypy wants one parameter
            for stamp in stamps:
                last = found[-1] if found and found[-1].text == text else None
                if last is not None and stamp <= last.end + 2 * STEP_SECONDS:
                    found[-1] = Mark(last.start, stamp, text, annotation["iconColor"])
                elif stamp >= self.span.start:
                    found.append(Mark(stamp, stamp, text, annotation["iconColor"]))
        return found

    def _range(self, expr: str) -> Iterator[tuple[dict[str, Any], list[float | None]]]:
        start, end = (f"{moment:.0f}" for moment in (self.span.start, self.span.end))
        query = self.fill(expr)
        data = _ask(
            self.url, "query_range", query=query, start=start, end=end, step=str(STEP_SECONDS)
        )
        for one in data["result"]:
            known = {round(float(t)): float(v) for t, v in one["values"]}
            values = (known.get(round(moment)) for moment in self.span.times)
            yield one, [None if v is None or math.isnan(v) or math.isinf(v) else v for v in values]


def _named(target: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    legend = target["legendFormat"]
    if legend == "__auto":
        return ", ".join(f"{name}={value}" for name, value in labels.items())
    return _LABEL.sub(lambda found: labels.get(found[1], ""), legend)


def _ask(url: str, path: str, **parameters: str) -> Any:
    asked = f"{url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    with urllib.request.urlopen(asked, timeout=30) as answer:  # noqa: S310 - of this machine
        return json.load(answer)["data"]


@contextmanager
def stored(data: Path) -> Iterator[str]:
    """A Prometheus that scrapes nothing and answers from what another has stored; its address."""
    config = data.parent / "still.yml"
    config.write_text("{}\n", encoding="utf-8")
    port = free_port()
    command = [
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={data}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--storage.tsdb.retention.time=10y",
    ]
    with (data.parent / "still.log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_for(url, process)
        yield url
    finally:
        process.kill()
        process.wait()


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        if process.poll() is not None:
            break
        try:
            _ask(url, "query", query="1")
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("the Prometheus that reads the stored data does not answer: see still.log")


def last_moment(url: str) -> float:
    """When the last scrape was, in Unix seconds."""
    data = _ask(url, "query_range", query="max(timestamp(up))", **_last_day())
    return max(float(value) for one in data["result"] for _, value in one["values"])


def _last_day() -> dict[str, str]:
    now = time.time()
    return {"start": f"{now - 86_400:.0f}", "end": f"{now:.0f}", "step": "15"}
