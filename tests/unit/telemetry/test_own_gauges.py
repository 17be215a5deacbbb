"""Gauges that worker processes set: when tokens and certificates end."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from worker.telemetry.metrics import Instruments

APP = "_app/app-1"


def test_ends_are_told_by_owner() -> None:
    """The last word counts, also where it is an earlier end than before."""
    registry = CollectorRegistry()
    instruments = Instruments(registry)
    for ends_at in (3000.0, 2000.0):
        instruments.token_expires.note(APP, "smtp", ends_at=ends_at)
    instruments.token_expires.note(APP, "graph", ends_at=4000.0)
    instruments.credential_expires.note(APP, ends_at=5000.0)
    for name, labels, ends_at in (
        ("token", {"owner": APP, "resource": "smtp"}, 2000.0),
        ("token", {"owner": APP, "resource": "graph"}, 4000.0),
        ("credential", {"owner": APP}, 5000.0),
    ):
        found = registry.get_sample_value(f"postmeter_{name}_expires_timestamp_seconds", labels)
        assert found == ends_at
