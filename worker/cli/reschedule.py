"""``postmeter reschedule JOB``: let emails that have not left leave at another time."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import click

from worker.cli import render
from worker.cli.emails import Moment
from worker.cli.pause import Seconds
from worker.cli.selecting import NOT_THERE, finish, in_steps
from worker.ledger import operations
from worker.ledger.queries import find_job
from worker.ledger.rows import UNREADABLE, State

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from worker.cli.installation import Installation
    from worker.ledger.clock import Now

RESCHEDULED: Final = "rescheduled by an operator"
_INSTEAD: Final = {
    State.DATA: "is being handed to the server right now: too late",
    State.DEAD: "is dead: `postmeter dead retry` lets it go again",
    State.UNKNOWN: "may have been sent: decide with `postmeter unknown`",
}


@click.command()
@click.argument("job_ids", metavar="JOB...", nargs=-1, required=True)
@click.option("--at", "at", type=Moment(), help="Not before this time (2027-03-01T09:00+13:00).")
@click.option("--in", "delay", type=Seconds(), help="Not before 90s, 15m, 12h or 4d from now.")
@render.json_option
@click.pass_obj
def reschedule(
    here: Installation,
    job_ids: tuple[str, ...],
    *,
    at: datetime | None,
    delay: float | None,
    as_json: bool,
) -> None:
    """Give emails that wait another time; each then takes its place in line.

    A time without a zone is this machine's.
    """
    if (at is None) == (delay is None):
        raise click.UsageError("say when: either --at TIME or --in 2h")
    with here.ledger() as ledger:
        now = ledger.now().wall
        due_at = at.timestamp() if at is not None else now + (delay or 0.0)
        if due_at < now:
            raise click.UsageError(
                f"{render.local(due_at, now)} is over: to let it go at once, write --in 1s"
            )
        result = in_steps(ledger, job_ids, partial(_reschedule, due_at=due_at))
    if result.done and not as_json:
        click.echo(f"not before {render.local(due_at, now)}:")
    finish(result, "rescheduled", as_json=as_json)


def _reschedule(connection: Connection, now: Now, job_id: str, *, due_at: float) -> str:
    """Give one job another date; why not, or an empty string."""
    if operations.reschedule(connection, now, job_id, due_at=due_at, reason=RESCHEDULED):
        return ""
    job = find_job(connection, job_id)
    if job is None:
        return NOT_THERE
    if job.kind == UNREADABLE:
        return "can't be read by this version, so it has no time of its own"
    if job.state in {State.WAITING, State.PAUSED, State.CLAIMED} and job.expires_at is not None:
        return f"expires at {render.local(job.expires_at, now.wall)}, before that"
    return _INSTEAD.get(job.state, f"is {job.state} already")
