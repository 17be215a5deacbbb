"""``postmeter ledger``: upgrade, check or prune the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from config.values import duration_seconds
from worker.cli import render
from worker.cli.failures import Failed
from worker.ledger import care, housekeeping

if TYPE_CHECKING:
    from worker.cli.installation import Installation

_MEBIBYTE: Final = 1 << 20


@click.group()
def ledger() -> None:
    """Look after the ledger, the database of every job."""


@ledger.command()
@render.json_option
@click.pass_obj
def upgrade(here: Installation, *, as_json: bool) -> None:
    """Bring the ledger to the version of this program; stop the workers and back it up first."""
    before, after = care.upgrade_ledger(here.ledger_url)
    if as_json:
        render.emit({"from": before, "to": after})
    elif before == after:
        click.echo(f"the ledger is of version {after} already")
    else:
        click.echo(f"upgraded the ledger from {before or 'nothing'} to {after}")


@ledger.command()
@render.json_option
@click.pass_obj
def check(here: Installation, *, as_json: bool) -> None:
    """Read the whole ledger and say what is wrong with it; exit code 1 if anything is."""
    with here.ledger() as opened:
        found = opened.read(care.check)
    if as_json:
        render.emit(
            {
                "size_bytes": found.size_bytes,
                "jobs": {state.value: count for state, count in found.jobs.items()},
                "problems": list(found.problems),
            }
        )
    else:
        states = ", ".join(f"{count:,} {state}" for state, count in sorted(found.jobs.items()))
        render.sentence(f"{found.size_bytes / _MEBIBYTE:,.1f} MiB; jobs: {states or 'none'}")
        for problem in found.problems:
            render.sentence(problem)
    if found.problems:
        raise Failed(f"the ledger has {render.plural(len(found.problems), 'problem')}")
    if not as_json:
        click.echo("the ledger is sound")


@ledger.command()
@click.option(
    "--older-than",
    "older_than",
    default="30d",
    show_default=True,
    metavar="AGE",
    callback=lambda _ctx, _param, text: _age(text),
    help="90s, 15m, 12h or 30d since the last change.",
)
@render.json_option
@click.pass_obj
def prune(here: Installation, *, older_than: float, as_json: bool) -> None:
    """Delete what was sent, drafted or cancelled long ago.

    Dead and unknown emails stay until somebody decides about them.
    """
    pruned = 0
    with here.ledger() as opened:
        while step := opened.call(
            lambda c, now: housekeeping.prune(c, now, older_than_seconds=older_than)
        ):
            pruned += step
    if as_json:
        render.emit({"pruned": pruned})
    else:
        click.echo(f"pruned {render.plural(pruned, 'job')}")


def _age(text: Any) -> float:
    try:
        return duration_seconds(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
