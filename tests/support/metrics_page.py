"""A worker's metrics page, read as Prometheus reads it."""

from __future__ import annotations

import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from tests.support.waiting import GENEROUS_SECONDS
from worker.telemetry.metrics import Kind

if TYPE_CHECKING:
    from prometheus_client.samples import Sample

    from worker.telemetry.metrics import Metric


@dataclass(frozen=True, slots=True)
class Page:
    """Every sample of one look."""

    samples: list[Sample]

    def count(self, metric: Metric) -> int:
        """How many samples a metric has; of a histogram, how many series."""
        return len(self._of(metric))

    def value(self, metric: Metric, **labels: str) -> float:
        """The sum of its samples with these labels; of a histogram, how often it was observed."""
        return sum(
            sample.value for sample in self._of(metric) if labels.items() <= sample.labels.items()
        )

    def _of(self, metric: Metric) -> list[Sample]:
        name = metric.name + ("_count" if metric.kind is Kind.HISTOGRAM else "")
        return [sample for sample in self.samples if sample.name == name]


def read_page(port: int) -> Page:
    """Read the page on a port of 127.0.0.1."""
    url = f"http://127.0.0.1:{port}/metrics"
    with urllib.request.urlopen(url, timeout=GENEROUS_SECONDS) as answer:
        families = text_string_to_metric_families(answer.read().decode())
        return Page([sample for family in families for sample in family.samples])
