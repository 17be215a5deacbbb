"""``postmeter ledger``: upgrade, check, back up or prune the ledger."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from config.values import duration_seconds
from worker.cli import render
from worker.cli.failures import Exit, Failed
from worker.ledger import backup as copying
from worker.ledger import care, housekeeping
from worker.ledger import restored as restoring
from worker.ledger.workers import DEAD_AFTER_SECONDS, count_beating

if TYPE_CHECKING:
    from worker.cli.installation import Installation
    from worker.ledger.ledger import Ledger

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
@click.argument("file", type=click.Path(path_type=Path))
@render.json_option
@click.pass_obj
def backup(here: Installation, file: Path, *, as_json: bool) -> None:
    """Copy an SQLite ledger to FILE while workers go on.

    The copy is of one moment. It holds emails: only you can read it.
    """
    if not here.ledger_url.startswith("sqlite:"):
        raise Failed(
            "the ledger is on PostgreSQL: copy it with its own tools, as with"
            " `pg_dump --format=custom --file=FILE postmeter`, or archive its log (docs/backup.md)",
            Exit.USAGE,
        )
    with here.ledger():  # says where it should be, if there is none
        pass
    try:
        size_bytes = copying.back_up(here.ledger_url, file)
    except FileExistsError:
        raise Failed(f"{file} is there already; name a new file", Exit.USAGE) from None
    except OSError as error:
        raise Failed(f"{file} cannot be written: {error.strerror}") from None
    if as_json:
        render.emit({"file": str(file), "size_bytes": size_bytes})
    else:
        render.sentence(f"copied the ledger to {file} ({size_bytes / _MEBIBYTE:,.1f} MiB)")


@ledger.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@render.json_option
@click.pass_obj
def restored(here: Installation, *, yes: bool, as_json: bool) -> None:
    """Say that the ledger is a copy of an earlier time; before any worker starts on it.

    Emails that may have been sent since become unknown, and wait for you: see `postmeter unknown`.
    """
    with here.ledger() as opened:
        if not yes:
            click.confirm(
                "Every email that is due is called unknown, until you decide about it. Go on?",
                abort=True,
                err=True,
            )
        _wait_for_silence(opened)
        opened.call(restoring.settle_down)
        doubtful = 0
        while step := opened.call(restoring.doubt):
            doubtful += step
        left = opened.read(restoring.left)
    if as_json:
        render.emit({"unknown": doubtful, "waiting": left.waiting, "paused": left.paused})
        return
    render.sentence(
        f"{render.plural(doubtful, 'email')} may have been sent since: `postmeter unknown list`"
    )
    if left.waiting:
        render.sentence(f"not due yet, and waiting as before: {left.waiting:,}")
    if left.paused:
        render.sentence(f"of paused batches; look before you resume one: {left.paused:,}")


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


def _wait_for_silence(opened: Ledger) -> None:
    """Give workers that the copy still knows as alive the time to be found silent."""
    until = time.monotonic() + DEAD_AFTER_SECONDS + 1.0
    while time.monotonic() < until and opened.read(count_beating):
        time.sleep(0.2)


def _age(text: Any) -> float:
    try:
        return duration_seconds(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
