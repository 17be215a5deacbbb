"""``postmeter batch pause|resume|cancel``: stop a batch for some time, or for good."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Final

import click

from worker.cli import render
from worker.cli.batch_status import as_json_of, in_words, owner_of, read_report
from worker.cli.failures import Failed
from worker.cli.pause import pause_options, until_words
from worker.cli.progress import Progress
from worker.ledger import batches, queries
from worker.ledger.rows import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from worker.cli.batch_status import BatchReport
    from worker.cli.installation import Installation
    from worker.cli.pause import Word
    from worker.ledger.clock import Now
    from worker.ledger.engine import Operation
    from worker.ledger.ledger import Ledger

CANCELLED: Final = "cancelled with its batch by an operator"
PASSED_BY_TRIES: Final = 20
PASSED_BY_SECONDS: Final = 0.1
"""What a worker has locked is passed by, so it is looked for again: so often, after so long."""
_IN_LINE: Final = (State.WAITING, State.CLAIMED)


def _command(function: Callable[..., None]) -> click.Command:
    """A command on one batch, with its options."""
    whose = click.option(
        "--company", help="Needed where several companies have a batch of this name."
    )
    batch = click.argument("batch_id", metavar="BATCH")
    decorated = batch(whose(render.json_option(click.pass_obj(function))))
    return click.command()(decorated)


@_command
@pause_options
def pause(
    here: Installation, batch_id: str, company: str | None, *, word: Word, as_json: bool
) -> None:
    """Let a batch stand aside: nothing of it leaves until it is resumed or the time is over.

    What is being handed to a server ends normally; what still arrives of the batch is paused too.
    """
    with here.ledger() as ledger:
        owner = ledger.read(partial(owner_of, batch_id=batch_id, company=company))

        def begin(connection: Connection, now: Now) -> None:
            batches.pause_batch(
                connection,
                now,
                owner,
                batch_id,
                held_by=word.held_by,
                words=word.reason,
                until_at=word.until_at(now),
            )

        ledger.call(begin)
        step = partial(batches.park_some, company=owner, batch_id=batch_id)
        paused = _all(ledger, owner, batch_id, _IN_LINE, step, ("pausing", "paused"))
        report = ledger.read(partial(read_report, batch_id=batch_id, company=owner, settings=None))
    if as_json:
        render.emit({"paused": paused, **as_json_of(report)})
        return
    until = until_words(report.pause.until_at, report.now.wall) if report.pause else "no more"
    click.echo(f"paused {render.plural(paused, 'email')} of {batch_id} {until}")
    _tell_rest(report, "not paused", State.PAUSED)


@_command
def resume(here: Installation, batch_id: str, company: str | None, *, as_json: bool) -> None:
    """Let a paused batch go on: its emails are back in line, each in its place of before."""
    with here.ledger() as ledger:
        owner = ledger.read(partial(owner_of, batch_id=batch_id, company=company))
        was_paused = ledger.call(partial(batches.end_pause, company=owner, batch_id=batch_id))
        step = partial(batches.put_back_some, company=owner, batch_id=batch_id)
        resumed = _all(ledger, owner, batch_id, (State.PAUSED,), step, ("resuming", "resumed"))
        report = ledger.read(partial(read_report, batch_id=batch_id, company=owner, settings=None))
    if not was_paused and not resumed:
        raise Failed(f"{batch_id} is not paused")
    if as_json:
        render.emit({"resumed": resumed, **as_json_of(report)})
    else:
        click.echo(f"resumed {render.plural(resumed, 'email')} of {batch_id}")


@_command
def cancel(here: Installation, batch_id: str, company: str | None, *, as_json: bool) -> None:
    """Cancel what waits of a batch; what was sent is sent."""
    with here.ledger() as ledger:
        owner = ledger.read(partial(owner_of, batch_id=batch_id, company=company))
        step = partial(batches.cancel_some, company=owner, batch_id=batch_id, reason=CANCELLED)
        states = (*_IN_LINE, State.PAUSED)
        cancelled = _all(ledger, owner, batch_id, states, step, ("cancelling", "cancelled"))
        report = ledger.read(partial(read_report, batch_id=batch_id, company=owner, settings=None))
    if as_json:
        render.emit({"cancelled": cancelled, **as_json_of(report)})
        return
    click.echo(f"cancelled {render.plural(cancelled, 'email')} of {batch_id}")
    _tell_rest(report, "not cancelled", State.CANCELLED)
    if report.pause is not None:
        click.echo("what still arrives of it is paused")


def _all(
    ledger: Ledger,
    company: str,
    batch_id: str,
    states: tuple[State, ...],
    step: Operation[int],
    words: tuple[str, str],
) -> int:
    """Repeat a step until no job of the batch is in these states; how many were changed."""

    def left(connection: Connection, _now: Now) -> int:
        counts = queries.batch_counts(connection, batch_id).get(company, {})
        return sum(counts.get(state, 0) for state in states)

    done = 0
    doing, did = words
    with Progress(ledger.read(left), doing=doing, done=did) as progress:
        for _ in range(PASSED_BY_TRIES):
            while changed := ledger.call(step):
                done += changed
                progress.tell(done)
            if not ledger.read(left):
                break
            time.sleep(PASSED_BY_SECONDS)
    return done


def _tell_rest(report: BatchReport, how: str, without: State) -> None:
    left = {state: n for state, n in report.counts.items() if state is not without}
    if left:
        click.echo(f"{how}: {in_words(left)}")
