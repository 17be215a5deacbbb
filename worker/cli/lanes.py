"""``postmeter lanes``: the waiting lines, and what each one waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from worker.binding import binding
from worker.cli import render
from worker.cli.forecast import Outlook
from worker.cli.limits import limits_json, print_limits, read_limits
from worker.ledger.uses import uses_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from config.settings import Settings
    from worker.binding import Use
    from worker.cli.installation import Installation
    from worker.cli.limits import LimitRow
    from worker.ledger.clock import Now
    from worker.ledger.overview import LaneRecord


@click.command()
@click.option("--company", help="Only the lines of this company.")
@render.json_option
@click.pass_obj
def lanes(here: Installation, company: str | None, *, as_json: bool) -> None:
    """List the waiting lines: one for each company, user and kind of job."""
    settings = here.settings()
    with here.ledger() as ledger:
        outlook, limits, uses = ledger.read(lambda c, now: _read(c, now, settings, company))
    found = [each for each in outlook.lanes if company in {None, each.lane.company}]
    if as_json:
        lines = [_as_json(each, outlook, uses) for each in found]
        render.emit({"lanes": lines, "limits": limits_json(limits)})
        return
    if not found:
        click.echo("nothing waits")
        return
    render.show(
        ("company", "user", "kind", "waiting", "due", "empty in", "waits for"),
        [
            (
                each.lane.company,
                each.lane.user or "(default)",
                each.lane.kind,
                render.number(each.waiting),
                render.number(each.due),
                _empty_in(outlook, each),
                _waits_for(outlook, each, uses),
            )
            for each in found
        ],
        numbers=("waiting", "due", "empty in"),
    )
    if limits:
        click.echo()
        print_limits(limits, outlook.now.wall)


def _read(
    connection: Connection, now: Now, settings: Settings | None, company: str | None
) -> tuple[Outlook, list[LimitRow], dict[str, Use]]:
    """Look at the lanes while the ledger is open: what follows is read when it is asked for."""
    outlook = Outlook(connection, now, settings)
    for record in outlook.lanes:
        outlook.drain_seconds([record])
    shown = [each.lane for each in outlook.lanes if company in {None, each.lane.company}]
    limits = {limit.scope: limit for lane in shown for limit in outlook.terms(lane).limits}
    uses = uses_of(connection, now, limits.values())
    return outlook, read_limits(connection, outlook, settings, company), uses


def _empty_in(outlook: Outlook, record: LaneRecord) -> str:
    seconds = outlook.drain_seconds([record])
    return "-" if seconds is None or not record.due else render.duration(seconds)


def _waits_for(outlook: Outlook, record: LaneRecord, uses: Mapping[str, Use]) -> str:
    terms = outlook.terms(record.lane)
    if terms.blocked:
        return terms.blocked
    if not record.due:
        return f"its time, {render.local(record.first_due_at, outlook.now.wall)}"
    binds = binding(terms.limits, uses)
    return "a worker" if binds is None else str(binds.limit)


def _as_json(record: LaneRecord, outlook: Outlook, uses: Mapping[str, Use]) -> dict[str, object]:
    terms = outlook.terms(record.lane)
    binds = binding(terms.limits, uses)
    return {
        "company": record.lane.company,
        "user": record.lane.user or None,
        "kind": record.lane.kind,
        "waiting": record.waiting,
        "due": record.due,
        "first_due_at": render.iso(record.first_due_at),
        "drain_seconds": outlook.drain_seconds([record]),
        "limits": [
            {
                "scope": limit.scope,
                "limit": limit.limit,
                "per": limit.per,
                "layer": limit.layer,
                "key": limit.key,
                "file": limit.file,
            }
            for limit in terms.limits
        ],
        "binding": None if binds is None else binds.limit.scope,
        "blocked": terms.blocked or None,
    }
