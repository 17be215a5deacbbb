"""``postmeter dead``: emails that will not be tried again, until a person decides."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Final

import click

from producers.errors import InvalidEnvelope
from worker.cli import render
from worker.cli.job_status import as_json as job_as_json
from worker.cli.job_status import print_report, read_report
from worker.cli.selecting import finish, in_steps, jobs_wanted, listing, unless
from worker.ledger import newcomers, operations, queries
from worker.ledger.rows import UNREADABLE, State
from worker.telemetry.masking import mask_addresses

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from producers.topology import Topology
    from worker.cli.installation import Installation
    from worker.cli.selecting import Wanted
    from worker.ledger.clock import Now

DROPPED: Final = "dropped by an operator"
RETRIED: Final = "sent again by an operator"
_SHOWN_CHARACTERS: Final = 400


@click.group()
def dead() -> None:
    """Look at emails that were given up, and send them again or drop them.

    Nothing dead goes by itself: each stays, with its reason and its text, until somebody decides.
    """


dead.add_command(
    listing(
        State.DEAD,
        purpose="List dead emails with their reasons, the newest first.",
        nothing="nothing is dead",
    )
)


@dead.command()
@click.argument("job_id", metavar="JOB")
@click.option("--addresses", is_flag=True, help="Show whole addresses.")
@render.json_option
@click.pass_obj
def show(here: Installation, job_id: str, *, addresses: bool, as_json: bool) -> None:
    """Show everything about one dead email, and the head of what nobody could read."""
    mask = str if addresses else mask_addresses
    with here.ledger() as ledger:
        report = read_report(ledger, job_id, None)
    raw = ""
    if report.job.kind == UNREADABLE:
        head = (report.job.body or b"")[:_SHOWN_CHARACTERS].decode(errors="replace")
        raw = mask("".join(each if each.isprintable() else "·" for each in head))
    if as_json:
        render.emit({**job_as_json(report, mask), "message": raw or None})
        return
    print_report(report, mask)
    if raw:
        click.echo()
        render.sentence(f"the message begins: {raw}")


@dead.command()
@click.pass_obj
@jobs_wanted(State.DEAD)
def retry(here: Installation, wanted: Wanted, *, as_json: bool) -> None:
    """Let dead emails go again, each in its place in line and with all its time to retry."""
    with here.ledger() as ledger:
        act = partial(_retry, topology=here.topology)
        result = in_steps(ledger, wanted.find(ledger), act)
    finish(result, "waiting again", as_json=as_json)


@dead.command()
@click.pass_obj
@jobs_wanted(State.DEAD)
@click.option("--yes", is_flag=True, help="Do not ask.")
def drop(here: Installation, wanted: Wanted, *, yes: bool, as_json: bool) -> None:
    """Cancel dead emails for good; their text is deleted."""
    with here.ledger() as ledger:
        found = wanted.find(ledger)
        if found and not wanted.job_ids and not yes:
            if not sys.stdin.isatty():
                raise click.UsageError("to drop by a rule without being asked, add --yes")
            click.confirm(f"drop {render.plural(len(found), 'job')}?", abort=True, err=True)
        result = in_steps(ledger, found, _drop)
    finish(result, "dropped", as_json=as_json)


def _retry(connection: Connection, now: Now, job_id: str, *, topology: Topology) -> str:
    """Let one job wait again; why not, or an empty string."""
    why = unless(connection, job_id, State.DEAD)
    if why:
        return why
    rival = queries.rival_of(connection, job_id)
    if rival is not None:
        return f"shares its idempotency key with {rival}, which was published since"
    if operations.revive(connection, now, job_id, state=State.DEAD, reason=RETRIED):
        return ""
    envelope = operations.raw_envelope(connection, job_id)
    if envelope is None:
        return "has lost its text"
    try:
        job = newcomers.read_envelope(envelope, topology)
    except InvalidEnvelope as error:
        return f"still can't be read: {error.reason}"
    newcomers.readmit(connection, now, job_id, envelope, job)
    return ""


def _drop(connection: Connection, now: Now, job_id: str) -> str:
    """Cancel one dead job; why not, or an empty string."""
    why = unless(connection, job_id, State.DEAD)
    if not why and not operations.forget_raw(connection, job_id):
        operations.cancel(connection, now, job_id, DROPPED)
    return why
