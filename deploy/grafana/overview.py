"""The overview: is mail leaving as fast as it may, and does anybody have to do something?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from deploy.grafana import queries
from deploy.grafana.frame import DRILLDOWN, OVERVIEW, Band, dashboard, dashboard_link, page_link
from deploy.grafana.panels import PER_MINUTE, SECONDS, SHARE, Look, Query, Step, graph, stat
from deploy.prometheus import recordings
from deploy.prometheus.thresholds import HOUR, Thresholds
from worker.telemetry import metrics
from worker.telemetry.metrics import AttemptClass, WaitReason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deploy.grafana.panels import Json

REASON_COLORS: Final[Mapping[str, str]] = {
    WaitReason.LIMIT: "blue",
    WaitReason.DAY: "dark-blue",
    WaitReason.TURN: "green",
    WaitReason.DATE: "super-light-blue",
    WaitReason.RETRY: "yellow",
    WaitReason.HELD: "red",
    WaitReason.PAUSED: "orange",
    WaitReason.SETTINGS: "purple",
    WaitReason.VERSION: "dark-purple",
}
"""Blue and green leave by themselves; red and purple need a person."""
CLASS_COLORS: Final[Mapping[str, str]] = {
    AttemptClass.ACCEPTED: "green",
    AttemptClass.DEFERRED: "yellow",
    AttemptClass.THROTTLED: "orange",
    AttemptClass.REFUSED: "red",
    AttemptClass.CREDENTIAL: "purple",
    AttemptClass.UNREACHABLE: "dark-red",
    AttemptClass.UNKNOWN: "dark-purple",
}
_FULL: Final = 1.001
"""Above a limit: a ratio of whole numbers that is more than one."""


def document(site: str) -> Json:
    """The dashboard; ``site`` is where a worker's status page is."""
    return dashboard(
        uid=OVERVIEW,
        title="Postmeter / Overview",
        description="Is mail leaving as fast as it may, and does anybody have to do something?",
        variables=[],
        links=[
            dashboard_link("Drill-down", DRILLDOWN),
            page_link("Status page", f"{site}/", "The same, by a worker itself, now"),
            page_link("Runbook", f"{site}/runbook/", "What to do, a page for each alert"),
        ],
        last="now-1h",
        bands=[
            Band(4, [(3, panel) for panel in _figures(Thresholds())]),
            Band(9, [(24, _against_the_limits())]),
            Band(8, [(12, _waiting()), (12, _time_to_get_through(Thresholds()))]),
            Band(8, [(12, _attempts()), (12, _holds())]),
        ],
    )


def _figures(numbers: Thresholds) -> list[Json]:
    green, amber, red = "green", "orange", "red"
    drain = queries.once(metrics.DRAIN_ETA)
    nothing_waits = f"{queries.waiting()} == 0"
    fullest = f"max({queries.of(metrics.UTILISATION, queries.MINUTES)})"
    ready = f"max({queries.of(metrics.WORKERS_READY)})"
    unknown = queries.once(metrics.UNKNOWN, "company")
    return [
        stat(
            "Sent",
            "Emails of all companies that servers accepted, a minute. 0 while mail waits for"
            " a limit or a turn: nothing is delivered, look at workers and holds.",
            Query(queries.per_minute(metrics.EMAILS, where=('outcome="sent"',))),
            unit=PER_MINUTE,
            decimals=0,
            nothing="0",
        ),
        stat(
            "Fullest limit",
            "The last 60 seconds of the limit that is used most, as a share of it. 100 % while"
            " mail waits is as it should be. Above 100 % for more than a minute after no limit was"
            " lowered: a fault in Postmeter.",
            Query(fullest),
            unit=SHARE,
            decimals=0,
            steps=(Step("blue"), Step(red, _FULL)),
            nothing="no limit",
        ),
        stat(
            "Waiting",
            "Jobs that wait in the ledger, for whatever reason; the graph below says for which."
            " Bad is not the number but that it grows while nothing is sent.",
            Query(queries.waiting()),
        ),
        stat(
            "Drained in",
            "When what is due now will have left, of the company that needs longest: all limits at"
            " once. A dash: nobody can tell, because a person must end a hold, or no limit is known.",
            Query(f"max({drain}) or on () {nothing_waits}"),
            unit=SECONDS,
            steps=(Step(green), Step(amber, 4 * HOUR), Step(red, numbers.drain_seconds)),
        ),
        stat(
            "Oldest single send",
            "How long ago the single send that waits longest could have gone. Single sends wait for"
            " no limit of a batch, so minutes are bad: a server is down, an account held, or no"
            " worker is at work.",
            Query(queries.age_seconds('kind="send"', 'reason!~"day|paused"')),
            unit=SECONDS,
            decimals=0,
            steps=(
                Step(green),
                Step(amber, numbers.send_age_seconds / 6),
                Step(red, numbers.send_age_seconds),
            ),
        ),
        stat(
            "Error budget left",
            f"The objective: {100 * numbers.objective:.4g} % of the emails that end are neither dead nor"
            f" unknown, over {numbers.budget_days:g} days. This is what is left of the rest; below 0 it"
            " is broken, see the alert's page. Needs Postmeter's recording rules.",
            Query(f"min({queries.of(recordings.BUDGET_LEFT)})"),
            unit=SHARE,
            decimals=0,
            steps=(Step(red), Step(amber, 0.0), Step(green, 0.25)),
        ),
        stat(
            "Dead or unknown",
            "Jobs that nothing happens to unless a person decides so. Above 0: see `postmeter dead list`,"
            " then retry or drop them; `postmeter unknown list` has those that may have been sent.",
            Query(f"max({queries.of(metrics.DEAD)}) + sum({unknown})"),
            steps=(Step(green), Step(amber, 1)),
        ),
        stat(
            "Workers ready",
            "Worker processes that reach both the ledger and the broker. 0: nothing is taken in."
            " Fewer than you run: /readyz of each says why.",
            Query(ready),
            steps=(Step(red), Step(green, 1)),
            nothing="none",
        ),
    ]


def _against_the_limits() -> Json:
    window = queries.with_company(queries.busiest(queries.once(metrics.WINDOW, "scope")))
    limit = queries.busiest(queries.once(metrics.LIMIT, "scope"))
    return graph(
        f"Sent in the last 60 seconds, and the limit: the {queries.BUSIEST} fullest",
        "Counted from the record of attempts, exactly. At the limit with mail waiting is as it"
        " should be; below it with mail waiting, another limit or a hold stands in the way; above it"
        " for more than a minute is a fault. Click a line for its company.",
        [Query(window, "{{scope}}"), Query(limit, "limit of {{scope}}")],
        look=Look(steps=True, calcs=("lastNotNull", "max"), right=True),
        limits="B",
        links=[
            {
                "title": "Drill-down to ${__field.labels.company}",
                "url": f"/d/{DRILLDOWN}?${{__url_time_range}}&${{datasource:queryparam}}"
                "&${job:queryparam}&var-company=${__field.labels.company}",
                "targetBlank": False,
            }
        ],
    )


def _waiting() -> Json:
    return graph(
        "What waits, by reason",
        "limit, day (a day's cap is used up), date, retry and turn leave by themselves. held: a"
        " server, an account or a credential stands still, see `postmeter holds`. settings, version:"
        " a person must act. paused: somebody wanted it.",
        [Query(queries.waiting("reason"), "{{reason}}")],
        look=Look(stacked=True, steps=True),
        colors=REASON_COLORS,
    )


def _time_to_get_through(numbers: Thresholds) -> Json:
    send, batch = ('kind="send"',), ('kind="batch"',)
    return graph(
        "Time to get through, once due",
        "From when a job could have gone to the end of its attempt. Single sends take as long as"
        f" their server does; their 95th above {numbers.in_time_seconds:g} s (dashed) is bad. Batches"
        " wait for their limit: their 95th is how long.",
        [
            Query(queries.quantile(0.5, metrics.SLOT_WAIT, where=send), "single sends, median"),
            Query(queries.quantile(0.95, metrics.SLOT_WAIT, where=send), "single sends, 95th"),
            Query(queries.quantile(0.95, metrics.SLOT_WAIT, where=batch), "batches, 95th"),
        ],
        unit=SECONDS,
        look=Look(log=True, line_at=numbers.in_time_seconds),
        colors={
            "single sends, median": "green",
            "single sends, 95th": "dark-green",
            "batches, 95th": "blue",
        },
    )


def _attempts() -> Json:
    return graph(
        "Attempts, by what they came to",
        "A minute. throttled: the provider wants less, lower the limit. credential: a password has"
        " changed or a token is refused. unreachable: network or server. unknown: sent or not, the"
        " reply was lost; see `postmeter unknown list`.",
        [Query(queries.per_minute(metrics.ATTEMPTS, "class"), "{{class}}")],
        unit=PER_MINUTE,
        look=Look(stacked=True, bars=True),
        colors=CLASS_COLORS,
    )


def _holds() -> Json:
    each = queries.once(metrics.HOLDS, "target_kind", "reason")
    return graph(
        "Holds, by what they stand on and why",
        "Each keeps the mail of one server, account, company or batch. Bad is credential (a person"
        " must act) and whatever stays: most end by themselves when the server takes mail again."
        " paused: somebody wanted it.",
        [Query(each, "{{target_kind}}: {{reason}}")],
        look=Look(stacked=True, steps=True),
        colors={"/: credential$/": "purple", "/: throttled$/": "orange", "/: paused$/": "yellow"},
    )
