"""From how things stand to the gauges of the metrics page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from config.values import SYSTEM
from worker.telemetry import metrics
from worker.telemetry.standing import count_holds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from worker.telemetry.board_reading import Standing
    from worker.telemetry.metrics import Metric
    from worker.telemetry.sampler import Sample


Labels = tuple[str, ...]


class StandingGauges(Collector):
    """Asks how things stand at each scrape.

    A line of jobs that has emptied stays at 0, so that graphs and alerts see it end.
    """

    def __init__(self, sample: Callable[[], Sample], version: str) -> None:
        self._sample = sample
        self._version = version
        self._lines: set[Labels] = set()
        self._holds: set[Labels] = set()
        self._under: set[Labels] = set()
        self._unknown: set[Labels] = {(SYSTEM,)}

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Make every gauge."""
        sample = self._sample()
        yield _family(metrics.BUILD, [((self._version,), 1)])
        yield _family(metrics.LEDGER_UP, [((), sample.ledger_up)])
        yield _family(metrics.SETTINGS_LOADED, [((), sample.loaded_at_seconds)])
        ends = sample.credential_ends.items()
        yield _family(metrics.CREDENTIAL_EXPIRES, (((owner,), at) for owner, at in ends))
        errors = {"_system": 0, **sample.errors}
        yield _family(metrics.SETTINGS_ERRORS, (((c,), count) for c, count in errors.items()))
        for metric, per in ((metrics.LIMIT, "minute"), (metrics.LIMIT_PER_DAY, "day")):
            limits = (one for one in sample.limits.values() if one.per == per)
            yield _family(metric, (((one.scope, one.layer), one.limit) for one in limits))
        if sample.standing is None:
            return
        alive = [worker for worker in sample.workers if worker.alive]
        yield _family(metrics.WORKERS, [((), len(alive))])
        yield _family(metrics.WORKERS_READY, [((), sum(not one.trouble for one in alive))])
        yield from _windows(sample, sample.standing.days_used)
        yield from self._of_backlog(sample.standing)

    def _of_backlog(self, standing: Standing) -> Iterator[GaugeMetricFamily]:
        waiting, backlog = standing.waiting, standing.backlog
        yield _family(metrics.WAITING, _with_zeros(waiting.jobs.items(), self._lines))
        yield _family(metrics.OLDEST_WAITING, waiting.oldest.items())
        yield _family(metrics.LIMIT_WAITING, _with_zeros(waiting.under.items(), self._under))
        drain = waiting.drain_seconds.items()
        yield _family(metrics.DRAIN_ETA, (((company,), seconds) for company, seconds in drain))
        yield _family(metrics.DEAD, [((), backlog.dead)])
        unknown = (((company,), jobs) for company, jobs in standing.unknown.items())
        yield _family(metrics.UNKNOWN, _with_zeros(unknown, self._unknown))
        yield _family(metrics.UNPUBLISHED, [((), backlog.unpublished)])
        yield _family(metrics.HOLDS, _with_zeros(count_holds(backlog.holds).items(), self._holds))


def _windows(sample: Sample, days_used: Mapping[str, float]) -> Iterator[GaugeMetricFamily]:
    windows = sample.windows
    yield _family(metrics.WINDOW, (((scope,), now) for scope, (now, _) in windows.items()))
    yield _family(metrics.WORST_WINDOW, (((scope,), most) for scope, (_, most) in windows.items()))
    used = {
        limit.scope: windows.get(limit.scope, (0, 0))[0] / limit.limit
        for limit in sample.limits.values()
    }
    shares = (((scope,), share) for scope, share in {**used, **days_used}.items())
    yield _family(metrics.UTILISATION, shares)


def _with_zeros(
    counts: Iterable[tuple[Labels, int]], seen: set[Labels]
) -> list[tuple[Labels, float]]:
    found = dict(counts)
    seen.update(found)
    return [(labels, found.get(labels, 0)) for labels in sorted(seen)]


def _family(metric: Metric, found: Iterable[tuple[Labels, float]]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, value in found:
        family.add_metric(labels, value)
    return family
