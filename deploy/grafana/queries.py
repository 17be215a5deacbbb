"""How the dashboards ask: what every host tells alike once, counters summed, of one installation.

``$job`` is the scrape job of one installation's workers: two installations that one Prometheus knows
are never added up. Gauges of the ledger are the same on every host: ``max by``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from producers.topology import Topology
from worker.telemetry import metrics

if TYPE_CHECKING:
    from worker.telemetry.metrics import Metric

JOB: Final = 'job="$job"'
MINUTES: Final = 'scope!~".+:(day|recipients)"'
"""The scopes that count by the minute."""
BUSIEST: Final = 3
"""How many limits a graph of all companies shows."""
QUEUES: Final = "|".join(name.replace(".", "[.]") for name in (*Topology().queues, Topology().dead))
"""Postmeter's queues, for a regular expression: no backslash, which strings would double."""


def of(metric: Metric | str, *matchers: str, suffix: str = "") -> str:
    """A metric of this installation."""
    name = metric if isinstance(metric, str) else metric.name
    return f"{name}{suffix}{{{', '.join((JOB, *matchers))}}}"


def once(metric: Metric, *by: str, where: tuple[str, ...] = ()) -> str:
    """A gauge that every host tells, once."""
    return (
        f"max by ({', '.join(by)}) ({of(metric, *where)})" if by else f"max({of(metric, *where)})"
    )


def per_minute(metric: Metric, *by: str, where: tuple[str, ...] = ()) -> str:
    """A counter's events a minute, of all hosts."""
    rate = f"rate({of(metric, *where)}[$__rate_interval])"
    return f"60 * sum by ({', '.join(by)}) ({rate})" if by else f"60 * sum({rate})"


def quantile(share: float, metric: Metric, *by: str, where: tuple[str, ...] = ()) -> str:
    """The value that so large a share of a histogram's observations does not exceed."""
    rate = f"rate({of(metric, *where, suffix='_bucket')}[$__rate_interval])"
    return f"histogram_quantile({share:g}, sum by ({', '.join(('le', *by))}) ({rate}))"


def busiest(expr: str) -> str:
    """Of an expression by scope, the scopes that used most of their limits in the time shown.

    Chosen once, at its end, so that they are the same at each point of the graph.
    """
    most = f"max_over_time({of(metrics.UTILISATION, MINUTES)}[$__range] @ end())"
    return f"{expr} and on (scope) topk({BUSIEST}, max by (scope) ({most}))"


def with_company(expr: str) -> str:
    """An expression by scope, each series with the company that its scope names: for links."""
    found = '"(?:company|mailbox):([^/:]+).*"'
    return f'label_replace({expr}, "company", "$1", "scope", {found})'


def waiting(*by: str, where: tuple[str, ...] = ()) -> str:
    """Jobs that wait."""
    each = once(metrics.WAITING, "company", "kind", "reason", where=where)
    return f"sum by ({', '.join(by)}) ({each})" if by else f"sum({each})"


def zero_while_the_ledger_answers() -> str:
    """0 where there is nothing to tell; nothing where nobody can tell."""
    return f"0 * max({of(metrics.LEDGER_UP)} == 1)"


def age_seconds(*where: str) -> str:
    """For how long the job that has been due the longest could have gone."""
    oldest = f"min({of(metrics.OLDEST_WAITING, *where)})"
    return f"time() - {oldest} or on () {zero_while_the_ledger_answers()}"


def broker(family: str, *by: str) -> str:
    """A metric of RabbitMQ's queues, whichever of its pages is scraped.

    ``/metrics/detailed`` and ``/metrics/per-object`` call it differently.
    """
    name = f'__name__=~"rabbitmq_(detailed_)?queue_{family}"'
    return f'max by ({", ".join(by)}) ({{{name}, queue=~".*({QUEUES})"}})'
