"""``postmeter cancel JOB``: stop emails that have not left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from worker.cli import render
from worker.cli.selecting import NOT_THERE, finish, in_steps
from worker.ledger import operations
from worker.ledger.queries import state_of
from worker.ledger.rows import State

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from worker.cli.installation import Installation
    from worker.ledger.clock import Now

CANCELLED_BY_HAND = "cancelled by an operator"


@click.command()
@click.argument("job_ids", metavar="JOB...", nargs=-1, required=True)
@render.json_option
@click.pass_obj
def cancel(here: Installation, job_ids: tuple[str, ...], *, as_json: bool) -> None:
    """Cancel emails that have not left; what is in DATA or was sent can't be called back."""
    with here.ledger() as ledger:
        result = in_steps(ledger, job_ids, _cancel)
    finish(result, "cancelled", as_json=as_json)


def _cancel(connection: Connection, now: Now, job_id: str) -> str:
    """Cancel one job; why not, or an empty string."""
    if operations.cancel(connection, now, job_id, CANCELLED_BY_HAND):
        return ""
    state = state_of(connection, job_id)
    if state is State.DATA:
        return "is being handed to the server right now: too late"
    return NOT_THERE if state is None else f"is {state} already"
