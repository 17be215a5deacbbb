"""``postmeter batch status`` and ``batch cancel``: how far it is; stop what has not left."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import click

from worker.cli import render
from worker.cli.failures import Exit, Failed
from worker.cli.forecast import Outlook, batch_limit
from worker.cli.job_status import forecast_fields, forecast_json
from worker.cli.selecting import STEP
from worker.ledger import operations, queries
from worker.ledger.rows import State
from worker.pace import WINDOW_SECONDS

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from config.settings import Settings
    from worker.cli.forecast import Forecast
    from worker.cli.installation import Installation
    from worker.ledger.clock import Now

CANCELLED: Final = "cancelled with its batch by an operator"


@dataclass(frozen=True, slots=True)
class BatchReport:
    """How far one batch is.

    Attributes:
        minute: what servers accepted of it in the last 60 s.
        last: when the last of its waiting emails will leave.
    """

    batch_id: str
    company: str
    counts: dict[State, int]
    minute: int
    limit: int | None
    last: Forecast | None
    now: Now


@click.command()
@click.argument("batch_id", metavar="BATCH")
@click.option("--company", help="Needed where several companies have a batch of this name.")
@render.json_option
@click.pass_obj
def status(here: Installation, batch_id: str, company: str | None, *, as_json: bool) -> None:
    """Show how far a batch is: counts, what left in the last minute, and when it will be done."""
    settings = here.settings()
    with here.ledger() as ledger:
        owner = ledger.read(partial(_owner, batch_id=batch_id, company=company))
        report = ledger.read(partial(_read, batch_id=batch_id, company=owner, settings=settings))
    if as_json:
        render.emit(_as_json(report))
    else:
        _print(report)


@click.command()
@click.argument("batch_id", metavar="BATCH")
@click.option("--company", help="Needed where several companies have a batch of this name.")
@render.json_option
@click.pass_obj
def cancel(here: Installation, batch_id: str, company: str | None, *, as_json: bool) -> None:
    """Cancel what waits of a batch; what was sent is sent."""
    cancelled = 0
    with here.ledger() as ledger:
        owner = ledger.read(partial(_owner, batch_id=batch_id, company=company))
        while step := ledger.call(partial(_cancel_some, batch_id=batch_id, company=owner)):
            cancelled += step
        report = ledger.read(partial(_read, batch_id=batch_id, company=owner, settings=None))
    if as_json:
        render.emit({"cancelled": cancelled, **_as_json(report)})
        return
    click.echo(f"cancelled {render.plural(cancelled, 'email')} of {batch_id}")
    left: dict[State, int] = {
        state: n for state, n in report.counts.items() if state is not State.CANCELLED
    }
    if left:
        click.echo(f"not cancelled: {_in_words(left)}")


def _owner(connection: Connection, _now: Now, *, batch_id: str, company: str | None) -> str:
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


def _read(
    connection: Connection, now: Now, *, batch_id: str, company: str, settings: Settings | None
) -> BatchReport:
    last = queries.last_of_batch(connection, company, batch_id)
    return BatchReport(
        batch_id,
        company,
        queries.batch_counts(connection, batch_id).get(company, {}),
        queries.batch_window(connection, now, company, batch_id, window_seconds=WINDOW_SECONDS),
        batch_limit(settings, company),
        None if last is None else Outlook(connection, now, settings).of(last),
        now,
    )


def _cancel_some(connection: Connection, now: Now, *, batch_id: str, company: str) -> int:
    jobs = queries.cancellable_of_batch(connection, company, batch_id, most=STEP)
    return sum(operations.cancel(connection, now, job_id, CANCELLED) for job_id in jobs)


def _as_json(report: BatchReport) -> dict[str, Any]:
    return {
        "batch_id": report.batch_id,
        "company": report.company,
        "jobs": {state.value: report.counts.get(state, 0) for state in State},
        "total": sum(report.counts.values()),
        "accepted_last_minute": report.minute,
        "limit_per_minute": report.limit,
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
            ("emails", f"{total:,}: {_in_words(report.counts)}"),
            ("sent", f"{done:,} of {total:,}, {100 * done / total:.0f} %"),
            ("last minute", f"{report.minute:,} accepted{limit}"),
            *((named.get(name, name), value) for name, value in last),
        ]
    )


def _in_words(counts: dict[State, int]) -> str:
    return ", ".join(f"{counts[state]:,} {state}" for state in State if counts.get(state))
