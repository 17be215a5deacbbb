"""Gauges that worker processes set: when tokens end."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from worker.telemetry.instruments import Instruments

APP = "_app/app-1"


def test_ends_are_told_by_owner() -> None:
    """The last word counts, also where it is an earlier end than before."""
    registry = CollectorRegistry()
    instruments = Instruments(registry)
    for ends_at in (3000.0, 2000.0):
        instruments.token_expires.note(APP, "smtp", ends_at=ends_at)
    instruments.token_expires.note(APP, "graph", ends_at=4000.0)
    for resource, ends_at in (("smtp", 2000.0), ("graph", 4000.0)):
        labels = {"owner": APP, "resource": resource}
        found = registry.get_sample_value("postmeter_token_expires_timestamp_seconds", labels)
        assert found == ends_at


def test_the_first_failure_counts() -> None:
    """With the first token both results are there, so that a rate sees the first failure."""
    registry = CollectorRegistry()
    requests = Instruments(registry).token_requests_of(APP, "smtp")
    requests["fetched"].inc()
    named = {"owner": APP, "resource": "smtp"}
    for result, count in (("fetched", 1.0), ("failed", 0.0)):
        found = registry.get_sample_value(
            "postmeter_token_requests_total", {**named, "result": result}
        )
        assert found == count
