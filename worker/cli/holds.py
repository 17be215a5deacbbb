"""``postmeter holds``: what gets nothing for now, why, and until when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from worker.cli import render
from worker.cli.failures import Failed
from worker.ledger import holds as ledger_holds
from worker.ledger.pauses import pause_on
from worker.telemetry.masking import mask_addresses

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from worker.cli.installation import Installation
    from worker.ledger.clock import Now
    from worker.ledger.holds import Hold


@click.group(invoke_without_command=True)
@render.json_option
@click.pass_context
def holds(ctx: click.Context, *, as_json: bool) -> None:
    """List what is held: what servers' replies made us hold, and what a person has paused.

    Held mail waits; nothing of it is lost and no attempt is counted. One email at a time tries
    whether a server, an account or a credential works again; a pause ends at its time, or by
    `postmeter resume`.
    """
    if ctx.invoked_subcommand is not None:
        return
    here: Installation = ctx.obj
    with here.ledger() as ledger:
        every, now = ledger.read(lambda c, at: (ledger_holds.all_holds(c), at))
    found = [hold for hold in every if not hold.is_over(now.wall)]
    found.sort(key=lambda hold: (hold.since_at, hold.target))
    if as_json:
        render.emit({"holds": [hold_json(hold) for hold in found]})
    elif found:
        print_holds(found, now)
    else:
        click.echo("nothing is held")


@holds.command()
@click.argument("targets", metavar="TARGET...", nargs=-1, required=True)
@render.json_option
@click.pass_obj
def clear(here: Installation, targets: tuple[str, ...], *, as_json: bool) -> None:
    """End holds that servers' replies made, so that their mail goes at once.

    TARGET is as `postmeter holds` shows it, such as server:smtp.example.nz:587. A target that
    still does not work is held again by the next email. What a person has paused stays paused.
    """
    names = list(dict.fromkeys(targets))

    def operation(connection: Connection, now: Now) -> tuple[list[str], list[str]]:
        cleared = [name for name in names if ledger_holds.clear_hold(connection, name)]
        return cleared, [name for name in names if pause_on(connection, now, name)]

    with here.ledger() as ledger:
        cleared, paused = ledger.call(operation)
    missing = [name for name in names if name not in cleared and name not in paused]
    if as_json:
        render.emit({"cleared": cleared, "paused": paused, "not_held": missing})
    else:
        for name in cleared:
            click.echo(f"cleared {name}")
    if paused:
        raise Failed(f"{paused[0]} is paused by a person: postmeter resume {paused[0]}")
    if missing:
        raise Failed(f"nothing holds {', '.join(missing)}")


def hold_json(hold: Hold) -> dict[str, Any]:
    """A hold for JSON."""
    return {
        "target": hold.target,
        "origin": str(hold.origin),
        "by": hold.held_by or None,
        "reason": mask_addresses(hold.reason),
        "since": render.iso(hold.since_at),
        "until": render.iso(hold.until_at),
        "next_probe_at": None if _never(hold) else render.iso(hold.next_probe_at),
        "failures": hold.failures,
        "probed_by": hold.probe_worker,
    }


def print_holds(found: Sequence[Hold], now: Now) -> None:
    """Print holds as a table."""
    render.show(
        ("held", "since", "next", "reason"),
        [
            (
                hold.target,
                render.local(hold.since_at, now.wall),
                _next(hold, now.wall),
                mask_addresses(hold.reason),
            )
            for hold in found
        ],
    )


def _never(hold: Hold) -> bool:
    return hold.next_probe_at >= ledger_holds.NOT_BEFORE_A_PERSON


def _next(hold: Hold, now_wall: float) -> str:
    """What happens to a hold next."""
    if hold.probe_worker is not None:
        return "is tried"
    if hold.until_at is not None:
        return f"ends {render.local(hold.until_at, now_wall)}"
    if _never(hold):
        return "stays"
    return f"tried {render.local(max(hold.next_probe_at, now_wall), now_wall)}"
