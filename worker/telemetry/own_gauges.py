"""Gauges that worker processes set themselves, because no ledger knows: connections, ends of tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Gauge

if TYPE_CHECKING:
    from collections.abc import Mapping

    from prometheus_client import CollectorRegistry

    from worker.telemetry.metrics import Metric


class ConnectionGauge:
    """How many connections one process has; those of a dead process are dropped."""

    def __init__(self, metric: Metric, registry: CollectorRegistry) -> None:
        self._gauge = Gauge(
            metric.name, metric.help, metric.labels, registry=registry, multiprocess_mode="livesum"
        )
        self._known: set[tuple[str, str]] = set()

    def note(self, counts: Mapping[tuple[str, str], int]) -> None:
        """Say how many there are now by (server, state); the others are gone."""
        for gone in self._known - counts.keys():
            self._gauge.labels(*gone).set(0)
        for labels, count in counts.items():
            self._gauge.labels(*labels).set(count)
        self._known.update(counts)


class EndGauge:
    """When something ends, in Unix time, as the process says that looked at it last."""

    def __init__(self, metric: Metric, registry: CollectorRegistry) -> None:
        self._gauge = Gauge(
            metric.name,
            metric.help,
            metric.labels,
            registry=registry,
            multiprocess_mode="mostrecent",
        )

    def note(self, *labels: str, ends_at: float) -> None:
        """Say when it ends."""
        self._gauge.labels(*labels).set(ends_at)
