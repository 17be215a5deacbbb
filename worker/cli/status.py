"""``postmeter status``: the whole at a glance, or one job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import click

from worker.cli import render
from worker.cli.drafts import STANDARD_OUTPUT, write_eml
from worker.cli.forecast import NO_SETTINGS, NO_WORKER, Outlook, batch_limit
from worker.cli.holds import hold_json, print_holds
from worker.cli.job_status import as_json as job_as_json
from worker.cli.job_status import print_report, read_report
from worker.cli.limits import limits_json, print_limits, read_limits
from worker.ledger.overview import others_by_company, unreadable_waiting
from worker.ledger.rows import State
from worker.telemetry.masking import mask_addresses

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from config.settings import Settings
    from worker.cli.installation import Installation
    from worker.cli.limits import LimitRow
    from worker.ledger.clock import Now
    from worker.ledger.holds import Hold
    from worker.ledger.overview import WorkerRecord


class Company(NamedTuple):
    """One company's line.

    Attributes:
        batch_minute, send_minute: what servers accepted in the last 60 s.
        limit: of batch emails per minute; None where there is none.
        drain_seconds: until what is due has left; None where it can't be told.
    """

    name: str
    waiting: int
    due: int
    in_hand: int
    batch_minute: int
    send_minute: int
    limit: int | None
    drain_seconds: float | None
    dead: int
    unknown: int


class Overview(NamedTuple):
    """Everything that the overview tells; ``published`` is what no worker has taken in yet."""

    companies: list[Company]
    limits: list[LimitRow]
    holds: list[Hold]
    workers: list[WorkerRecord]
    unreadable: int
    published: dict[str, int] | str
    now: Now


@click.command()
@click.argument("job_id", metavar="[JOB]", required=False)
@click.option("--addresses", is_flag=True, help="Show whole addresses.")
@click.option("--eml", metavar="FILE", help="Write JOB's unsent message there; - prints it.")
@click.option("--force", is_flag=True, help="With --eml: overwrite FILE.")
@render.json_option
@click.pass_obj
def status(
    here: Installation,
    job_id: str | None,
    *,
    addresses: bool,
    eml: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Show what waits and leaves, or with JOB what became of one email.

    Of a waiting email it tells its place in line, when it will leave, and because of which limit;
    of a draft, where it is.
    """
    if eml is not None:
        if job_id is None:
            raise click.UsageError("--eml needs the JOB whose unsent message it writes")
        if eml == STANDARD_OUTPUT and as_json:
            raise click.UsageError("give --eml - or --json: only one can be on standard output")
        write_eml(here, job_id, eml, replace=force)
        if eml == STANDARD_OUTPUT:
            return
    settings = here.settings()
    if job_id is None:
        _show_overview(here, settings, as_json=as_json)
        return
    mask = str if addresses else mask_addresses
    with here.ledger() as ledger:
        report = read_report(ledger, job_id, settings)
    if as_json:
        render.emit(job_as_json(report, mask))
    else:
        print_report(report, mask)


def _show_overview(here: Installation, settings: Settings | None, *, as_json: bool) -> None:
    published = _published(here)
    with here.ledger() as ledger:
        overview = ledger.read(lambda c, now: _read(c, now, settings, published))
    if as_json:
        render.emit(_as_json(overview))
    else:
        _print(overview, settings)


def _published(here: Installation) -> dict[str, int] | str:
    """What lies in the queues, or why that can't be told."""
    from worker.cli.way_in import depths
    from worker.errors import BrokerUnavailable

    try:
        return depths(here)
    except BrokerUnavailable as error:
        return str(error)


def _read(
    connection: Connection, now: Now, settings: Settings | None, published: dict[str, int] | str
) -> Overview:
    outlook = Outlook(connection, now, settings)
    accepted = outlook.accepted
    others = others_by_company(connection)
    names = {record.lane.company for record in outlook.lanes} | {lane.company for lane in accepted}
    names |= others.keys() | set(settings.contexts() if settings else ())
    companies = []
    for name in sorted(names):
        lanes = [record for record in outlook.lanes if record.lane.company == name]
        counts = others.get(name, {})
        minute = {lane: count for lane, count in accepted.items() if lane.company == name}
        companies.append(
            Company(
                name,
                waiting=sum(record.waiting for record in lanes),
                due=sum(record.due for record in lanes),
                in_hand=counts.get(State.CLAIMED, 0) + counts.get(State.DATA, 0),
                batch_minute=sum(n for lane, n in minute.items() if lane.kind == "batch"),
                send_minute=sum(n for lane, n in minute.items() if lane.kind != "batch"),
                limit=batch_limit(settings, name),
                drain_seconds=outlook.drain_seconds(lanes),
                dead=counts.get(State.DEAD, 0),
                unknown=counts.get(State.UNKNOWN, 0),
            )
        )
    return Overview(
        companies,
        read_limits(connection, outlook, settings),
        outlook.holds,
        outlook.workers,
        unreadable_waiting(connection),
        published,
        now,
    )


def _as_json(overview: Overview) -> dict[str, Any]:
    return {
        "at": render.iso(overview.now.wall),
        "companies": [
            {
                "company": each.name,
                "waiting": each.waiting,
                "due": each.due,
                "in_hand": each.in_hand,
                "accepted_last_minute": {"batch": each.batch_minute, "send": each.send_minute},
                "batch_limit_per_minute": each.limit,
                "drain_seconds": each.drain_seconds,
                "dead": each.dead,
                "unknown": each.unknown,
            }
            for each in overview.companies
        ],
        "limits": limits_json(overview.limits),
        "holds": [hold_json(hold) for hold in overview.holds],
        "workers": [
            {
                "id": each.id,
                "host": each.host,
                "pid": each.pid,
                "version": each.version,
                "started_at": render.iso(each.started_at),
                "alive": each.alive,
                "trouble": each.trouble or None,
            }
            for each in overview.workers
        ],
        "unreadable": overview.unreadable,
        "published": overview.published if isinstance(overview.published, dict) else None,
    }


def _print(overview: Overview, settings: Settings | None) -> None:
    render.show(
        ("company", "waiting", "in hand", "batch/min", "single/min", "empty in", "dead", "unknown"),
        [
            (
                each.name,
                render.number(each.waiting),
                render.number(each.in_hand),
                f"{each.batch_minute:,} of {each.limit:,}"
                if each.limit
                else str(each.batch_minute),
                render.number(each.send_minute),
                _empty_in(each),
                render.number(each.dead),
                render.number(each.unknown),
            )
            for each in overview.companies
        ],
        numbers=("waiting", "in hand", "batch/min", "single/min", "empty in", "dead", "unknown"),
    )
    click.echo()
    if overview.limits:
        print_limits(overview.limits, overview.now.wall)
        click.echo()
    if isinstance(overview.published, str):
        render.sentence(f"way in: {overview.published}")
    elif any(overview.published.values()):
        counts = ", ".join(f"{n:,} in {queue}" for queue, n in overview.published.items() if n)
        render.sentence(f"not taken in yet: {counts}")
    if overview.unreadable:
        render.sentence(f"held for a newer worker that can read them: {overview.unreadable:,}")
    if settings is None:
        render.sentence(NO_SETTINGS)
    _print_workers(overview)
    if overview.holds:
        click.echo()
        print_holds(overview.holds, overview.now)


def _empty_in(company: Company) -> str:
    if not company.waiting:
        return "-"
    if company.drain_seconds is None:
        return "blocked"
    return render.duration(company.drain_seconds)


def _print_workers(overview: Overview) -> None:
    alive = [each for each in overview.workers if each.alive]
    if not alive:
        render.sentence(NO_WORKER)
        return
    hosts = ", ".join(sorted({each.host for each in alive}))
    render.sentence(f"workers: {len(alive)} alive on {hosts}")
    for trouble in sorted({each.trouble for each in alive if each.trouble}):
        render.sentence(f"not ready: {trouble}")
