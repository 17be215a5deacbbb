"""The drill-down: one company's limits and outcomes, then the machinery that all companies share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from deploy.grafana import machinery, queries
from deploy.grafana.frame import (
    DRILLDOWN,
    OVERVIEW,
    Band,
    dashboard,
    dashboard_link,
    page_link,
    variable,
)
from deploy.grafana.overview import REASON_COLORS
from deploy.grafana.panels import (
    PER_MINUTE,
    SECONDS,
    SHARE,
    Look,
    Query,
    Step,
    graph,
    stat,
)
from deploy.grafana.tables import Column, table
from worker.telemetry import metrics

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deploy.grafana.panels import Json

COMPANY: Final = 'company="$company"'
SCOPE: Final = 'scope=~"$scope"'
SCOPES_OF_COMPANY: Final = 'scope=~"(company:$company|mailbox:$company/.+|system|all)(:.+)?"'
"""What a company's mail may come under; ``system`` counts the batches of the system's own users."""
OUTCOME_COLORS: Final[Mapping[str, str]] = {
    "sent": "green",
    "drafted": "light-green",
    "deferred": "yellow",
    "held": "orange",
    "cancelled": "text",
    "dead": "red",
    "unknown": "purple",
}


def document(site: str) -> Json:
    """The dashboard; ``site`` is where a worker's status page is."""
    return dashboard(
        uid=DRILLDOWN,
        title="Postmeter / Drill-down",
        description="One company's limits and outcomes, and the machinery that all companies share.",
        variables=[_company(), _scope()],
        links=[
            dashboard_link("Overview", OVERVIEW),
            page_link("Status page", f"{site}/", "The same, by a worker itself, now"),
            page_link("Runbook", f"{site}/runbook/", "What to do, a page for each alert"),
        ],
        last="now-1h",
        bands=[
            *_limits(),
            *_outcomes(),
            *machinery.delivery(),
            *machinery.credentials(),
            *machinery.workers(),
            *machinery.broker(),
        ],
    )


def _company() -> Json:
    query = f"label_values({queries.of(metrics.EMAILS)}, company)"
    return variable("company", "Company", query)


def _scope() -> Json:
    query = f"label_values({queries.of(metrics.UTILISATION, SCOPES_OF_COMPANY)}, scope)"
    everything = {"text": ["All"], "value": ["$__all"]}
    return variable(
        "scope",
        "Limit",
        query,
        regex="/^(.+?)(?::day|:recipients)?$/",
        multi=True,
        includeAll=True,
        current=everything,
    )


def _limits() -> list[Band]:
    by = ("scope", "layer")
    limit, day = (
        queries.once(metric, *by, where=(SCOPES_OF_COMPANY,))
        for metric in (metrics.LIMIT, metrics.LIMIT_PER_DAY)
    )
    columns = (
        (metrics.WINDOW, "Sent in 60 s"),
        (metrics.UTILISATION, "In use"),
        (metrics.LIMIT_WAITING, "Keeps waiting"),
    )
    others = [
        Query(queries.once(metric, "scope", where=(SCOPES_OF_COMPANY,)), now=True, form="table")
        for metric, _ in columns
    ]
    overview_table = table(
        "Limits of $company",
        "Every limit that the company's mail comes under, the layer of the settings that it comes"
        " from, and which of them binds: the one that keeps jobs waiting. In use at 100 % with"
        " nothing waiting is no bottleneck.",
        [Query(f"{limit} or {day}", now=True, form="table"), *others],
        [
            Column("scope", "Limit"),
            Column("layer", "Set by", width=100),
            Column("Value #A", "Allows", width=80),
            Column("Value #B", columns[0][1], width=105),
            Column("Value #C", columns[1][1], SHARE, bar=True, width=150),
            Column("Value #D", columns[2][1], width=115),
        ],
        by="scope",
        nothing="-",
    )
    sent = graph(
        "Sent in the last 60 seconds, and the limit",
        "Counted from the record of attempts, exactly. At the limit with mail waiting is as it"
        " should be; below it with mail waiting, another limit or a hold stands in the way; above"
        " it for more than a minute after no limit was lowered is a fault.",
        [
            Query(queries.once(metrics.WINDOW, "scope", where=(SCOPE,)), "{{scope}}"),
            Query(queries.once(metrics.LIMIT, "scope", where=(SCOPE,)), "limit of {{scope}}"),
        ],
        look=Look(steps=True),
        limits="B",
    )
    binding = graph(
        "Which limit keeps mail waiting",
        "Due jobs by the limit that binds now, of several at once; a shared one counts everybody's."
        " Raise that one, or leave it: the others let the mail through. Growing for hours: more is"
        " published than may leave.",
        [
            Query(
                queries.once(metrics.LIMIT_WAITING, "scope", where=(SCOPES_OF_COMPANY,)),
                "{{scope}}",
            )
        ],
        look=Look(stacked=True, steps=True),
    )
    days = graph(
        "Daily limits in use",
        "The share of each limit by the day that the last 24 hours have used. At 100 %: nothing"
        " leaves under it until the day's first emails are a day old.",
        [
            Query(
                queries.once(metrics.UTILISATION, "scope", where=('scope=~"($scope):.+"',)),
                "{{scope}}",
            )
        ],
        unit=SHARE,
        look=Look(line_at=1.0, most=1.05),
    )
    return [
        Band(8, [(14, overview_table), (10, binding)], title="Limits of $company"),
        Band(8, [(14, sent), (10, days)]),
    ]


def _outcomes() -> list[Band]:
    lost = 'outcome=~"dead|unknown"'
    outcomes = graph(
        "Outcomes",
        "What became of the company's jobs, a minute. Bad: dead and unknown, which a person should"
        " look at, and held or deferred that outgrow sent.",
        [Query(queries.per_minute(metrics.EMAILS, "outcome", where=(COMPANY,)), "{{outcome}}")],
        unit=PER_MINUTE,
        look=Look(stacked=True, bars=True),
        colors=OUTCOME_COLORS,
    )
    waiting = graph(
        "What waits, by reason",
        "held: a server, an account or a credential stands still. settings: the company, the user or"
        " a key is missing. The others leave by themselves, or when a person ends the pause.",
        [Query(queries.waiting("reason", where=(COMPANY,)), "{{reason}}")],
        look=Look(stacked=True, steps=True),
        colors=REASON_COLORS,
    )
    drained = stat(
        "Drained in",
        "When what is due of this company will have left: all its limits at once, turns with others,"
        " a pause with an end waited for. A dash: nothing is due under a limit, or nobody can tell.",
        Query(f"max({queries.of(metrics.DRAIN_ETA, COMPANY)})"),
        unit=SECONDS,
    )
    given_up = stat(
        "Dead or unknown",
        "In the time shown. Above 0: see `postmeter dead list` and `postmeter unknown list`.",
        Query(f"sum(increase({queries.of(metrics.EMAILS, COMPANY, lost)}[$__range]))", now=True),
        decimals=0,
        steps=(Step("green"), Step("orange", 0.5)),
        nothing="0",
        spark=False,
    )
    return [
        Band(
            8,
            [(10, outcomes), (10, waiting), (4, (drained, given_up))],
            title="Outcomes of $company",
        )
    ]
