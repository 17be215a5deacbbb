"""What a rule is, and the dialect that its expression is written in; pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal

from deploy.prometheus.layout import laid_out
from deploy.prometheus.thresholds import Thresholds

Severity = Literal["critical", "warning"]
"""Critical: mail stands still or a promise is broken, wake somebody. Warning: look at it today."""

SITE: Final = "http://localhost:9191"
"""Whose ``/runbook/`` has the pages: the worker's own metrics port has those of its version."""
GRAFANA: Final = "http://localhost:3000"
_UNITS: Final = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How expressions are written: for which job, grouped by what, and how fast time passes.

    Attributes:
        job: the scrape job of the workers.
        groups: the labels that tell one installation from another; several hosts of one installation
            tell the same gauges, so everything is grouped by these and no more.
        scale: how many times faster than real time: for tests, in which an hour is a minute.
    """

    job: str = "postmeter"
    groups: tuple[str, ...] = ("job",)
    scale: float = 1.0
    thresholds: Thresholds = field(default_factory=Thresholds)

    def by(self, *labels: str) -> str:
        """``by (job, scope)``."""
        return f"by ({', '.join((*self.groups, *labels))})"

    def on(self, *labels: str) -> str:
        """``on (job, scope)``."""
        return f"on ({', '.join((*self.groups, *labels))})"

    def seconds(self, seconds: float) -> str:
        """A number of seconds, for comparing with one."""
        return f"{seconds / self.scale:.10g}"

    def interval_seconds(self, seconds: float) -> float:
        """How often rules are worked out; however fast time passes, once a second at most."""
        return max(seconds / self.scale, 1.0)

    def time(self, seconds: float) -> str:
        """A length of time, as fast as it passes."""
        return written(seconds / self.scale)


def written(seconds: float) -> str:
    """A time as Prometheus writes it: ``1h30m``; never less than a millisecond."""
    left = max(1, round(seconds * 1000))
    parts = []
    for unit, length in _UNITS:
        count, left = divmod(left, length)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


@dataclass(frozen=True, slots=True)
class Recording:
    """A series that is written down: ``level:metric:operation``."""

    name: str
    expr: str

    def document(self, _dialect: Dialect, **_urls: str) -> dict[str, Any]:
        """The rule as Prometheus reads it."""
        return {"record": self.name, "expr": laid_out(self.expr)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One condition of which somebody is told. Two of one name differ in severity.

    Attributes:
        expr: returns a series for each thing that is wrong; nothing where all is well.
        for_seconds: how long it must hold.
        summary: one line, with the labels' values.
        description: what it means and what to do first; the runbook has the rest.
    """

    name: str
    severity: Severity
    expr: str
    for_seconds: float
    summary: str
    description: str

    def document(
        self, dialect: Dialect, *, site: str = SITE, grafana: str = GRAFANA
    ) -> dict[str, Any]:
        """The rule as Prometheus reads it."""
        rule: dict[str, Any] = {"alert": self.name, "expr": laid_out(self.expr)}
        if self.for_seconds:
            rule["for"] = dialect.time(self.for_seconds)
        return {
            **rule,
            "labels": {"severity": self.severity},
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "runbook_url": f"{site.rstrip('/')}/runbook/{self.name}",
                "dashboard_url": f"{grafana.rstrip('/')}/d/postmeter-overview",
            },
        }
