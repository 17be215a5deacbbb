"""``postmeter lanes``: the waiting lines, and what each one waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from worker.cli import render
from worker.cli.forecast import Outlook

if TYPE_CHECKING:
    from worker.cli.forecast import Terms
    from worker.cli.installation import Installation
    from worker.ledger.overview import LaneRecord


@click.command()
@click.option("--company", help="Only the lines of this company.")
@render.json_option
@click.pass_obj
def lanes(here: Installation, company: str | None, *, as_json: bool) -> None:
    """List the waiting lines: one for each company, user and kind of job."""
    settings = here.settings()
    with here.ledger() as ledger:
        outlook = ledger.read(lambda c, now: Outlook(c, now, settings))
    found = [each for each in outlook.lanes if company in {None, each.lane.company}]
    if as_json:
        render.emit({"lanes": [_as_json(each, outlook) for each in found]})
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
                _waits_for(outlook, each),
            )
            for each in found
        ],
        numbers=("waiting", "due", "empty in"),
    )


def _empty_in(outlook: Outlook, record: LaneRecord) -> str:
    seconds = outlook.drain_seconds([record])
    return "-" if seconds is None or not record.due else render.duration(seconds)


def _waits_for(outlook: Outlook, record: LaneRecord) -> str:
    terms = outlook.terms(record.lane)
    if terms.blocked:
        return terms.blocked
    if not record.due:
        return f"its time, {render.local(record.first_due_at, outlook.now.wall)}"
    return _limit(terms) or "a worker"


def _limit(terms: Terms) -> str:
    lowest = terms.lowest
    return f"{lowest.limit} a minute for {lowest.scope}" if lowest else ""


def _as_json(record: LaneRecord, outlook: Outlook) -> dict[str, object]:
    terms = outlook.terms(record.lane)
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
                "per_minute": limit.limit,
                "source": terms.sources[limit.scope],
            }
            for limit in terms.limits
        ],
        "blocked": terms.blocked or None,
    }
