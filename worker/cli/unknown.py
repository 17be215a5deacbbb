"""``postmeter unknown``: emails of which nobody knows whether the server took them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from worker.cli.selecting import finish, in_steps, jobs_wanted, listing, unless
from worker.ledger import operations
from worker.ledger.rows import State

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from worker.cli.installation import Installation
    from worker.cli.selecting import Wanted
    from worker.ledger.clock import Now

RESENT: Final = "sent again by an operator: the first outcome is unknown"
MARKED: Final = "marked as sent by an operator"


@click.group()
def unknown() -> None:
    """Decide about emails that may or may not have been delivered.

    Their text was under way when the connection or the worker ended. Where the settings say
    on_unknown = "resend", each is sent again once by itself; what is left here waits for you.
    """


unknown.add_command(
    listing(
        State.UNKNOWN,
        purpose="List unknown emails with their reasons, the newest first.",
        nothing="nothing is unknown",
    )
)


@unknown.command()
@click.pass_obj
@jobs_wanted(State.UNKNOWN)
def resend(here: Installation, wanted: Wanted, *, as_json: bool) -> None:
    """Send unknown emails again; who got the first copy gets a second, with the same Message-ID."""
    with here.ledger() as ledger:
        result = in_steps(ledger, wanted.find(ledger), _resend)
    finish(result, "waiting again", as_json=as_json)


@unknown.command("mark-sent")
@click.pass_obj
@jobs_wanted(State.UNKNOWN)
def mark_sent(here: Installation, wanted: Wanted, *, as_json: bool) -> None:
    """Say of unknown emails that they were delivered; their text is deleted."""
    with here.ledger() as ledger:
        result = in_steps(ledger, wanted.find(ledger), _mark_sent)
    finish(result, "marked as sent", as_json=as_json)


def _resend(connection: Connection, now: Now, job_id: str) -> str:
    why = unless(connection, job_id, State.UNKNOWN)
    if why or operations.revive(connection, now, job_id, state=State.UNKNOWN, reason=RESENT):
        return why
    return "has lost its text"


def _mark_sent(connection: Connection, now: Now, job_id: str) -> str:
    why = unless(connection, job_id, State.UNKNOWN)
    if not why:
        operations.mark_sent(connection, now, job_id, MARKED)
    return why
