"""The list of metrics: its page, its names, its labels."""

from __future__ import annotations

import re

import pytest
from prometheus_client import CollectorRegistry

from docs.build_metrics import PATH, document
from worker.telemetry import metrics
from worker.telemetry.instruments import Instruments
from worker.telemetry.metrics import ALL, Kind, Metric


def test_page_is_up_to_date() -> None:
    """docs/metrics.md is generated; ``python docs/build_metrics.py`` writes it anew."""
    assert PATH.read_text(encoding="utf-8") == document()


def test_list_is_whole() -> None:
    """Every metric that the module defines is in the list, once."""
    defined = [value for value in vars(metrics).values() if isinstance(value, Metric)]
    assert len(defined) == len(ALL)
    assert set(defined) == set(ALL)
    assert len({metric.name for metric in ALL}) == len(ALL)


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.name)
def test_names_follow_the_rules(metric: Metric) -> None:
    """Prefix, base unit, and ``_total`` for counters alone (prometheus.io, naming)."""
    assert re.fullmatch(r"postmeter_[a-z_]+", metric.name)
    assert metric.name.endswith("_total") is (metric.kind is Kind.COUNTER)
    assert not any(label in metric.labels for label in ("address", "job_id", "batch_id", "user"))
    assert bool(metric.buckets) is (metric.kind is Kind.HISTOGRAM)
    assert list(metric.buckets) == sorted(metric.buckets)
    assert metric.help.endswith(".")
    assert metric.tells.endswith(".")


def test_instruments_have_the_types_and_labels_of_the_list() -> None:
    """What worker processes count with is what the list says."""
    registry = CollectorRegistry()
    Instruments(registry)
    listed = {metric.name.removesuffix("_total"): metric.kind for metric in ALL}
    made = {family.name: family.type for family in registry.collect()}
    assert made.items() <= listed.items()
    assert len(made) == 10


def test_connections_that_are_gone_are_zero() -> None:
    """A server that is not used any more shows 0 and not its last figure."""
    registry = CollectorRegistry()
    gauge = Instruments(registry).connections["smtp"]
    gauge.note({("mx:25", "idle"): 2, ("mx:25", "busy"): 1})
    gauge.note({("mx:25", "idle"): 1})
    for state, count in (("idle", 1), ("busy", 0)):
        labels = {"server": "mx:25", "state": state}
        assert registry.get_sample_value("postmeter_smtp_connections", labels) == count
