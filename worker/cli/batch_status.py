"""``postmeter batch status``: how far it is, and when it will be done."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from worker.cli import render
from worker.cli.failures import Exit, Failed
from worker.cli.forecast import Outlook, batch_limit, last_of
from worker.cli.holds import hold_json
from worker.cli.job_status import forecast_fields, forecast_json
from worker.cli.pause import until_words
from worker.ledger import queries
from worker.ledger.pauses import pause_on
from worker.ledger.rows import State
from worker.outcome import HoldTarget
from worker.pace import WINDOW_SECONDS

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from config.settings import Settings
    from worker.cli.forecast import Forecast
    from worker.cli.installation import Installation
    from worker.ledger.clock import Now
    from worker.ledger.holds import Hold


@dataclass(frozen=True, slots=True)
class BatchReport:
    """How far one batch is.

    Attributes:
        minute: what servers accepted of it in the last 60 s.
        last: when the last of its waiting emails will leave.
        pause: that it is paused, by whom and until when.
    """

    batch_id: str
    company: str
    counts: dict[State, int]
    minute: int
    limit: int | None
    last: Forecast | None
    now: Now
    pause: Hold | None


@click.command()
@click.argument("batch_id", metavar="BATCH")
@click.option("--company", help="Needed where several companies have a batch of this name.")
@render.json_option
@click.pass_obj
def status(here: Installation, batch_id: str, company: str | None, *, as_json: bool) -> None:
    """Show how far a batch is: counts, what left in the last minute, and when it will be done."""
    settings = here.settings()
    with here.ledger() as ledger:
        owner = ledger.read(partial(owner_of, batch_id=batch_id, company=company))
        report = ledger.read(
            partial(read_report, batch_id=batch_id, company=owner, settings=settings)
        )
    if as_json:
        render.emit(as_json_of(report))
    else:
        _print(report)


def owner_of(connection: Connection, _now: Now, *, batch_id: str, company: str | None) -> str:
    """Whose batch is meant.

    Raises:
        Failed: there is none of this name.
        UsageError: several companies have one.
    """
    owners = sorted(queries.batch_counts(connection, batch_id))
    if company in owners:
        return str(company)
    if company is not None or not owners:
        whose = f" of {company}" if company else ""
        raise Failed(
            f"the ledger has no batch {batch_id}{whose}: no worker has taken it in yet,"
            " or it was pruned",
            Exit.FAILED,
        )
    if len(owners) > 1:
        raise click.UsageError(f"{batch_id} is a batch of {', '.join(owners)}: add --company")
    return owners[0]


def read_report(
    connection: Connection, now: Now, *, batch_id: str, company: str, settings: Settings | None
) -> BatchReport:
    """Find out how far a batch is; without ``settings`` its limit is not told."""
    last = queries.last_of_batch(connection, company, batch_id)
    outlook = Outlook(connection, now, settings)
    return BatchReport(
        batch_id,
        company,
        queries.batch_counts(connection, batch_id).get(company, {}),
        queries.batch_window(connection, now, company, batch_id, window_seconds=WINDOW_SECONDS),
        batch_limit(settings, company),
        last_of([outlook.of(job) for job in last]),
        now,
        pause_on(connection, now, str(HoldTarget.of_batch(company, batch_id))),
    )


def as_json_of(report: BatchReport) -> dict[str, Any]:
    """The report as one JSON document."""
    pause = report.pause
    return {
        "batch_id": report.batch_id,
        "company": report.company,
        "jobs": {state.value: report.counts.get(state, 0) for state in State},
        "total": sum(report.counts.values()),
        "accepted_last_minute": report.minute,
        "limit_per_minute": report.limit,
        "pause": None if pause is None else hold_json(pause),
        "last_email": None if report.last is None else forecast_json(report.last),
    }


def _print(report: BatchReport) -> None:
    total = sum(report.counts.values())
    done = sum(report.counts.get(state, 0) for state in (State.SENT, State.DRAFTED))
    limit = f" (the limit is {report.limit:,})" if report.limit else ""
    last = [] if report.last is None else forecast_fields(report.last, report.now.wall)
    named = {"in line": "before the last", "leaves": "last leaves"}
    render.fields(
        [
            ("batch", report.batch_id),
            ("company", report.company),
            ("emails", f"{total:,}: {in_words(report.counts)}"),
            ("paused", _paused_in_words(report)),
            ("sent", f"{done:,} of {total:,}, {100 * done / total:.0f} %"),
            ("last minute", f"{report.minute:,} accepted{limit}"),
            *((named.get(name, name), value) for name, value in last),
        ]
    )


def _paused_in_words(report: BatchReport) -> str:
    if report.pause is None:
        return ""
    until = until_words(report.pause.until_at, report.now.wall)
    return f"{until}; {report.pause.reason}"


def in_words(counts: dict[State, int]) -> str:
    """How many emails are in which state, as ``20 sent, 3 waiting``."""
    return ", ".join(f"{counts[state]:,} {state}" for state in State if counts.get(state))
