"""``postmeter status JOB``: what became of it, where it is in line, when it will leave."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from worker.binding import Binding
from worker.cli import render
from worker.cli.drafts import describe, draft_json, read_draft
from worker.cli.failures import Failed
from worker.cli.forecast import Forecast, Outlook
from worker.ledger.queries import AttemptRecord, JobRecord, attempts_of, find_job
from worker.ledger.rows import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from config.settings import Settings
    from worker.ledger.clock import Now
    from worker.ledger.drafts import DraftRecord
    from worker.ledger.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that is told of one job."""

    job: JobRecord
    attempts: list[AttemptRecord]
    forecast: Forecast | None
    draft: DraftRecord | None
    now: Now


def read_report(ledger: Ledger, job_id: str, settings: Settings | None) -> Report:
    """Find out everything about one job.

    Raises:
        Failed: the ledger has no such job.
    """

    def operation(connection: Connection, now: Now) -> Report | None:
        job = find_job(connection, job_id)
        if job is None:
            return None
        waits = job.state in {State.WAITING, State.PAUSED}
        forecast = Outlook(connection, now, settings).of(job) if waits else None
        draft = read_draft(connection, job_id)
        return Report(job, attempts_of(connection, job_id), forecast, draft, now)

    report = ledger.read(operation)
    if report is None:
        raise Failed(
            f"the ledger has no job {job_id}: no worker has taken it in yet, or it was pruned"
        )
    return report


def recipients(job: JobRecord) -> list[dict[str, str]]:
    """Who gets it, each with what its server said last; from the envelope while there is one."""
    told = {
        each.address: {"address": each.address, "state": each.state.value, "reply": str(each.reply)}
        for each in job.recipients
    }
    for address in _addressed(job.body):
        told.setdefault(address, {"address": address, "state": "", "reply": ""})
    return list(told.values())


def _addressed(body: bytes | None) -> list[str]:
    """The bare addresses in to, cc and bcc of an envelope; none where it can't be read."""
    from producers.addresses import parse_address

    try:
        job = json.loads(body or b"{}")["kwargs"]["job"]
        written = [one for key in ("to", "cc", "bcc") for one in job.get(key, ())]
        return [parse_address(one)[1] for one in written]
    except (ValueError, KeyError, TypeError, AttributeError):
        return []


def as_json(report: Report, mask: Callable[[str], str]) -> dict[str, Any]:
    """The report as one JSON document."""
    job, forecast = report.job, report.forecast
    return {
        "job_id": job.job_id,
        "state": job.state.value,
        "reason": mask(job.reason),
        "company": job.company,
        "user": job.user,
        "kind": job.kind,
        "batch_id": job.batch_id,
        "subject": job.subject,
        "message_id": job.message_id,
        "transport": job.transport,
        "reply": mask(job.reply),
        "draft": draft_json(report.draft),
        "enqueued_at": render.iso(job.enqueued_at),
        "accepted_at": render.iso(job.accepted_at),
        "updated_at": render.iso(job.updated_at),
        "due_at": render.iso(job.due_at) if job.state is State.WAITING else None,
        "expires_at": render.iso(job.expires_at),
        "recipients": [
            {name: mask(value) for name, value in each.items()} for each in recipients(job)
        ],
        "attempts": [
            {
                "n": each.n,
                "worker": each.worker,
                "begun_at": render.iso(each.begun_at),
                "ended_at": render.iso(each.ended_at),
                "outcome": each.outcome,
                "reply": mask(each.reply),
            }
            for each in report.attempts
        ],
        "forecast": None if forecast is None else forecast_json(forecast),
    }


def forecast_json(forecast: Forecast) -> dict[str, Any]:
    """A forecast for JSON."""
    limit = forecast.limit
    per_minute = limit is not None and limit.per == "minute"
    return {
        "ahead": forecast.ahead,
        "leaves_at": render.iso(forecast.leaves_at),
        "cause": forecast.cause.value,
        "limit_scope": limit.scope if limit else None,
        "limit_per_minute": limit.limit if limit and per_minute else None,
        "limit_per_day": limit.limit if limit and not per_minute else None,
        "limit_layer": limit.layer if limit else None,
        "limit_key": limit.key if limit else None,
        "limit_file": limit.file if limit else None,
        "blocked": forecast.blocked or None,
    }


def print_report(report: Report, mask: Callable[[str], str]) -> None:
    """Print the report for a person."""
    job, now = report.job, report.now.wall
    owner = f"{job.company}/{job.user}" if job.user else job.company
    render.fields(
        [
            ("job", job.job_id),
            ("state", job.state.value),
            ("reason", mask(job.reason)),
            ("reply", mask(job.reply)),
            ("draft", describe(job.job_id, report.draft) if report.draft else ""),
            ("line", f"{owner}, {job.kind}"),
            ("batch", job.batch_id or ""),
            ("subject", job.subject),
            ("published", render.local(job.enqueued_at, now)),
            ("taken in", render.local(job.accepted_at, now)),
            ("last change", render.local(job.updated_at, now)),
            ("not before", render.local(job.due_at, now) if _waits_for_its_time(report) else ""),
            ("expires", "" if job.expires_at is None else render.local(job.expires_at, now)),
            ("transport", job.transport),
            ("in hand of", job.worker or ""),
            *forecast_fields(report.forecast, now),
        ]
    )
    if report.attempts:
        click.echo()
        render.show(
            ("attempt", "begun", "took", "outcome", "reply"),
            [
                (
                    each.n,
                    render.local(each.begun_at, now),
                    render.duration((each.ended_at or now) - each.begun_at),
                    each.outcome or "in DATA",
                    mask(each.reply),
                )
                for each in report.attempts
            ],
            numbers=("attempt",),
        )
    people = recipients(job)
    if people:
        click.echo()
        render.show(
            ("recipient", "state", "reply"),
            [(mask(p["address"]), p["state"] or "-", mask(p["reply"])) for p in people],
        )


def _waits_for_its_time(report: Report) -> bool:
    """Whether a send_at or a back-off keeps the job, and not only its place in line."""
    return report.job.state is State.WAITING and report.job.due_at > report.now.wall


def forecast_fields(forecast: Forecast | None, now_wall: float) -> list[tuple[str, str]]:
    """What a forecast says, as names and values."""
    if forecast is None:
        return []
    ahead = render.plural(forecast.ahead, "email") if forecast.ahead else "nothing"
    pairs = [("in line", f"{ahead} before it")]
    if forecast.blocked:
        pairs.append(("waits", forecast.blocked))
    if forecast.leaves_at is not None:
        left = render.duration(forecast.leaves_at - now_wall)
        at = render.local(forecast.leaves_at, now_wall)
        pairs.append(("leaves", f"about {at}, in {left}"))
    if forecast.limit is not None:
        pairs.append(("limit", str(Binding(forecast.limit))))
    return pairs
