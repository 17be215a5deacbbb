"""Which jobs a command is about, and doing something to each of them, some hundreds at a time."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from worker.cli import render
from worker.cli.failures import Failed
from worker.ledger import queries
from worker.ledger.queries import Selection
from worker.telemetry.masking import mask_addresses

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from worker.cli.installation import Installation
    from worker.ledger.clock import Now
    from worker.ledger.ledger import Ledger
    from worker.ledger.rows import State

    F = TypeVar("F", bound=Callable[..., Any])

STEP: Final = 200
"""How many jobs one transaction changes: between two of them the workers have their turn."""
NOT_THERE: Final = "is not in the ledger: no worker has taken it in yet, or it was pruned"

Act = Callable[["Connection", "Now", str], str]
"""Does something to one job; returns why it could not, or an empty string."""


@dataclass(slots=True)
class Result:
    """What became of each job: done, or why not."""

    done: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The jobs that a command line means: those named, or all that fit the selection."""

    job_ids: tuple[str, ...]
    selection: Selection

    def find(self, ledger: Ledger) -> list[str]:
        """The ids that are meant now."""
        if self.job_ids:
            return list(dict.fromkeys(self.job_ids))
        return ledger.read(lambda c, _: queries.ids_of(c, self.selection))


def jobs_wanted(state: State) -> Callable[[F], F]:
    """Give a command the parameter ``wanted``: jobs of a state, by id or by a rule."""

    def decorate(command: F) -> F:
        @functools.wraps(command)
        def call(
            *args: Any,
            job_ids: tuple[str, ...],
            reason: str,
            company: str | None,
            everything: bool,
            **more: Any,
        ) -> Any:
            if bool(job_ids) == (everything or bool(reason or company)):
                raise click.UsageError("name jobs by id, or with --reason, --company or --all")
            wanted = Wanted(job_ids, Selection(state, company, reason))
            return command(*args, wanted=wanted, **more)

        decorated: F = _with_options(
            call,
            click.argument("job_ids", metavar="[JOB]...", nargs=-1),
            *_rules(),
            click.option("--all", "everything", is_flag=True, help="All of them."),
            render.json_option,
        )
        return decorated

    return decorate


def listing(state: State, *, purpose: str, nothing: str) -> click.Command:
    """The command ``list`` of a state; ``nothing`` is said where it has no jobs."""

    def list_jobs(
        here: Installation, *, reason: str, company: str | None, most: int, as_json: bool
    ) -> None:
        with here.ledger() as ledger:
            selection = Selection(state, company, reason)
            print_list(ledger, selection, most=most, as_json=as_json, nothing=nothing)

    how_many = click.option(
        "--most", type=click.IntRange(1), default=50, show_default=True, help="How many."
    )
    options = (*_rules(), how_many, render.json_option)
    return click.command("list", help=purpose)(_with_options(click.pass_obj(list_jobs), *options))


def _rules() -> tuple[Callable[[Any], Any], ...]:
    return (
        click.option("--reason", default="", help="Those whose reason contains this."),
        click.option("--company", help="Only those of this company."),
    )


def _with_options(command: Any, *options: Callable[[Any], Any]) -> Any:
    for add in reversed(options):
        command = add(command)
    return command


def in_steps(ledger: Ledger, job_ids: Sequence[str], act: Act) -> Result:
    """Do something to each job, in several transactions."""
    result = Result()
    for start in range(0, len(job_ids), STEP):
        step = job_ids[start : start + STEP]
        for job_id, why in ledger.call(functools.partial(_one_step, step=step, act=act)):
            if why:
                result.refused[job_id] = why
            else:
                result.done.append(job_id)
    return result


def _one_step(
    connection: Connection, now: Now, *, step: Sequence[str], act: Act
) -> list[tuple[str, str]]:
    return [(job_id, act(connection, now, job_id)) for job_id in step]


def unless(connection: Connection, job_id: str, wanted: State) -> str:
    """Why a job is not one of ``wanted``, or an empty string."""
    state = queries.state_of(connection, job_id)
    if state is None:
        return NOT_THERE
    return "" if state is wanted else f"is {state}, not {wanted}"


def finish(result: Result, verb: str, *, as_json: bool) -> None:
    """Say what was done, and end with exit code 1 if something was refused.

    Raises:
        Failed: something was refused.
    """
    if as_json:
        render.emit({verb: result.done, "refused": result.refused})
    elif len(result.done) == 1:
        click.echo(f"{verb}: {result.done[0]}")
    elif result.done or not result.refused:
        click.echo(f"{verb}: {render.plural(len(result.done), 'job')}")
    if result.refused:
        job_id, why = next(iter(result.refused.items()))
        more = f" (and {len(result.refused) - 1} more)" if len(result.refused) > 1 else ""
        raise Failed(f"{job_id} {why}{more}")


def print_list(
    ledger: Ledger, selection: Selection, *, most: int, as_json: bool, nothing: str
) -> None:
    """List the selected jobs, the one that changed last first."""

    def operation(connection: Connection, now: Now) -> tuple[list[queries.Listed], int, float]:
        found = queries.list_jobs(connection, selection, most=most)
        return found, queries.count_jobs(connection, selection), now.wall

    found, total, now_wall = ledger.read(operation)
    if as_json:
        render.emit({"total": total, "jobs": [_as_json(each) for each in found]})
        return
    if not found:
        click.echo(nothing)
        return
    render.show(
        ("job", "line", "since", "reason"),
        [
            (
                each.job_id,
                f"{each.company}/{each.user}" if each.user else each.company,
                render.local(each.updated_at, now_wall),
                mask_addresses(each.reason),
            )
            for each in found
        ],
    )
    if total > len(found):
        click.echo(f"and {total - len(found):,} more (--most {total})")


def _as_json(listed: queries.Listed) -> dict[str, Any]:
    return {
        "job_id": listed.job_id,
        "company": listed.company,
        "user": listed.user or None,
        "kind": listed.kind,
        "batch_id": listed.batch_id,
        "attempts": listed.attempts,
        "reason": mask_addresses(listed.reason),
        "updated_at": render.iso(listed.updated_at),
    }
