"""What rules, dashboards and pages may ask Prometheus for: the series of the code and of the rules."""

from __future__ import annotations

from typing import Any

from deploy.prometheus import build
from tests.support.promql import readings
from worker.telemetry import metrics

BY_PROMETHEUS = frozenset({"job", "instance"})
"""The labels that Prometheus adds to what it scrapes."""


def rules() -> list[dict[str, Any]]:
    """Every rule, in the order in which they are worked out."""
    return [rule for group in build.document()["groups"] for rule in group["rules"]]


def exported() -> dict[str, frozenset[str]]:
    """Every series that a worker exports, and ``up``, each with its labels."""
    series = {"up": BY_PROMETHEUS}
    for metric in metrics.ALL:
        labels = BY_PROMETHEUS | set(metric.labels)
        if metric.kind is metrics.Kind.HISTOGRAM:
            series |= {f"{metric.name}_{end}": labels for end in ("sum", "count")}
            series[f"{metric.name}_bucket"] = labels | {"le"}
        else:
            series[metric.name] = labels
    return series


def recorded(known: dict[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    """What the rules write down, with the labels that are left; from ``known``, in their order."""
    series: dict[str, frozenset[str]] = {}
    for rule in rules():
        if "record" in rule:
            found = readings(rule["expr"])
            kept = [one.grouped or (known | series)[one.name] for one in found]
            series[rule["record"]] = frozenset().union(*kept)
    return series
