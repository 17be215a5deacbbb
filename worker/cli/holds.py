"""``postmeter holds``: what gets nothing for now, and why; ``holds clear`` ends one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from worker.cli import render
from worker.cli.failures import Exit, Failed
from worker.ledger import holds as ledger_holds
from worker.telemetry.masking import mask_addresses

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.cli.installation import Installation
    from worker.ledger.clock import Now
    from worker.ledger.holds import Hold


@click.group(invoke_without_command=True)
@render.json_option
@click.pass_context
def holds(ctx: click.Context, *, as_json: bool) -> None:
    """List what is held: servers, accounts, credentials, limits, companies.

    Held mail waits; nothing of it is lost and no attempt is counted. One email at a time tries
    whether the target works again.
    """
    if ctx.invoked_subcommand is not None:
        return
    here: Installation = ctx.obj
    with here.ledger() as ledger:
        found, now = ledger.read(lambda c, at: (ledger_holds.all_holds(c), at))
    found.sort(key=lambda hold: (hold.since_at, hold.target))
    if as_json:
        render.emit({"holds": [hold_json(hold) for hold in found]})
    elif found:
        print_holds(found, now)
    else:
        click.echo("nothing is held")


@holds.command()
@click.argument("targets", metavar="TARGET...", nargs=-1, required=True)
@click.pass_obj
def clear(here: Installation, targets: tuple[str, ...]) -> None:
    """End holds, so that their mail goes at once.

    TARGET is as `postmeter holds` shows it, such as server:smtp.example.nz:587. A target that
    still does not work is held again by the next email.
    """
    with here.ledger() as ledger:
        missing = [
            target
            for target in targets
            if not ledger.call(lambda c, _, t=target: ledger_holds.clear_hold(c, t))  # type: ignore[misc]  # mypy cannot infer a lambda with a default
        ]
    for target in targets:
        if target not in missing:
            click.echo(f"cleared {target}")
    if missing:
        raise Failed(f"nothing holds {', '.join(missing)}", Exit.FAILED)


def hold_json(hold: Hold) -> dict[str, Any]:
    """A hold for JSON."""
    return {
        "target": hold.target,
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
        ("held", "since", "next try", "reason"),
        [
            (
                hold.target,
                render.local(hold.since_at, now.wall),
                _next_try(hold, now.wall),
                mask_addresses(hold.reason),
            )
            for hold in found
        ],
    )


def _never(hold: Hold) -> bool:
    return hold.next_probe_at >= ledger_holds.NOT_BEFORE_A_PERSON


def _next_try(hold: Hold, now_wall: float) -> str:
    if hold.probe_worker is not None:
        return "now"
    if hold.until_at is not None:
        return f"ends {render.local(hold.until_at, now_wall)}"
    return "never" if _never(hold) else render.local(max(hold.next_probe_at, now_wall), now_wall)
