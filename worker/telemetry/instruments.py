"""The instruments that worker processes count with, one set a process; the rest the ledger answers."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, values

from worker.outcome import Outcome
from worker.telemetry import metrics
from worker.telemetry.directory import VARIABLE, place, take_place
from worker.telemetry.own_gauges import ConnectionGauge, EndGauge

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from collections.abc import Set as AbstractSet

    from worker.telemetry.metrics import Metric

if VARIABLE in os.environ:
    # By place instead of process id: a restarted process goes on in its predecessor's files.
    values.ValueClass = values.MultiProcessValue(place)  # type: ignore[no-untyped-call]  # prometheus_client annotates in part


class Instruments:
    """What one worker process counts with.

    Label values that are known beforehand start at 0, or the first count of each would be lost to
    ``rate()``.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry or CollectorRegistry()
        self.restarts = _counter(metrics.WORKER_RESTARTS, registry)
        self.emails = _counter(metrics.EMAILS, registry)
        self.attempts = _counter(metrics.ATTEMPTS, registry)
        self.recipients = _counter(metrics.RECIPIENTS, registry)
        self.queue_wait = _histogram(metrics.QUEUE_WAIT, registry)
        self.delivery = _histogram(metrics.DELIVERY, registry)
        self.slot_wait = _histogram(metrics.SLOT_WAIT, registry)
        self.connections = {"smtp": ConnectionGauge(metrics.CONNECTIONS, registry)}
        self.token_expires = EndGauge(metrics.TOKEN_EXPIRES, registry)
        self.token_requests = _counter(metrics.TOKEN_REQUESTS, registry)
        for kind in ("send", "batch"):
            self.emails_of(kind, "smtp", "_system")
            self.queue_wait.labels(kind)
            self.slot_wait.labels(kind)
        for phase in ("connect", "preface", "data"):
            self.delivery.labels("smtp", phase)

    def emails_of(self, kind: str, transport: str, company: str) -> dict[Outcome, Counter]:
        """The counters of every outcome of one company's jobs."""
        labels = (kind, transport, company)
        return {outcome: self.emails.labels(*labels, outcome.value) for outcome in Outcome}

    def token_requests_of(self, owner: str, resource: str) -> dict[str, Counter]:
        """The counters of every result of one owner's requests for a token."""
        results = ("fetched", "failed")
        return {result: self.token_requests.labels(owner, resource, result) for result in results}


class Beginnings:
    """Lets the counters of how each company's emails end begin at 0, before its first email.

    Of these shares are made; the others appear with their first count, for each costs every scrape
    (100 companies: some 10 ms). For the process that serves metrics: once a host is enough, for what processes count is added up.
    """

    def __init__(self) -> None:
        self._emails = _counter(metrics.EMAILS, CollectorRegistry())
        self._begun: set[tuple[str, str, str]] = set()

    def begin(self, lanes: AbstractSet[tuple[str, str, str]]) -> None:
        """Begin those of these kinds, transports and companies that have not begun yet."""
        for labels in lanes - self._begun:
            accepted = Outcome.DRAFTED if labels[0] == "compose" else Outcome.SENT
            for outcome in (accepted, Outcome.DEAD, Outcome.UNKNOWN):
                self._emails.labels(*labels, outcome.value)
            self._begun.add(labels)


def _counter(metric: Metric, registry: CollectorRegistry) -> Counter:
    return Counter(metric.name, metric.help, metric.labels, registry=registry)


def _histogram(metric: Metric, registry: CollectorRegistry) -> Histogram:
    return Histogram(
        metric.name, metric.help, metric.labels, buckets=metric.buckets, registry=registry
    )


@functools.cache
def instruments() -> Instruments:
    """The instruments of this process, made at the first use: after the fork, never before."""
    if VARIABLE in os.environ:
        take_place()
    return Instruments()


def note_connections(transport: str, counts: Mapping[tuple[str, str], int]) -> None:
    """Say how many connections a transport has in this process now, by (server, state)."""
    instruments().connections[transport].note(counts)


def observe_phase(transport: str) -> Callable[[str, float], None]:
    """What a transport calls with each phase and the seconds that it took."""
    children = functools.cache(functools.partial(instruments().delivery.labels, transport))

    def observe(phase: str, seconds: float) -> None:
        children(phase).observe(seconds)

    return observe
