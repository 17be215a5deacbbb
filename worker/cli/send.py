"""``postmeter send``: publish one email, and if asked follow it to its end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import click

from worker.cli import render
from worker.cli.emails import Moment, attachments, read_text
from worker.cli.failures import Failed
from worker.telemetry.masking import mask_addresses

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from producers.emails import Email
    from worker.cli.installation import Installation
    from worker.ledger.ledger import Ledger
    from worker.ledger.queries import JobRecord

LOOK_AGAIN_SECONDS: Final = 0.1
_WELL: Final = ("sent", "drafted")


@click.command()
@click.option("--company", help="Whose settings apply; left out, the system's.")
@click.option("--user", help="Whose Email tab applies; left out, the default user's.")
@click.option("--to", multiple=True, required=True, help="A recipient; may be given again.")
@click.option("--cc", multiple=True, help="As --to.")
@click.option("--bcc", multiple=True, help="As --to; the others do not see it.")
@click.option("--subject", required=True, help="One line.")
@click.option("--text", help="The text itself.")
@click.option("--text-file", metavar="FILE", help="The text from a file, or - for standard input.")
@click.option("--html-file", metavar="FILE", help="HTML from a file, or - for standard input.")
@click.option("--attach", multiple=True, metavar="FILE", help="A file; may be given again.")
@click.option("--from", "sender", metavar="ADDRESS", help="Left out, the user's own address.")
@click.option("--send-at", type=Moment(), help="Not before this time (2027-03-01T09:00).")
@click.option("--expires-at", type=Moment(), help="Not after this time.")
@click.option("--key", help="The same key with the same email is sent once.")
@click.option(
    "--wait",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    help="Wait so long for what becomes of it; exit code 1 unless it is sent.",
)
@render.json_option
@click.pass_obj
def send(
    here: Installation,
    *,
    company: str | None,
    user: str | None,
    to: tuple[str, ...],
    cc: tuple[str, ...],
    bcc: tuple[str, ...],
    subject: str,
    text: str | None,
    text_file: str | None,
    html_file: str | None,
    attach: tuple[str, ...],
    sender: str | None,
    send_at: datetime | None,
    expires_at: datetime | None,
    key: str | None,
    wait: float | None,
    as_json: bool,
) -> None:
    """Publish one email; it goes at once, before any batch.

    Prints the job's id once the email is stored durably. `postmeter status ID` tells what became
    of it.
    """
    from producers.emails import Email

    if text is not None and text_file is not None:
        raise click.UsageError("give --text or --text-file, not both")
    if text_file == html_file == "-":
        raise click.UsageError("only one of --text-file and --html-file can be -")
    email = Email(
        to,
        subject,
        text=read_text(text_file) if text_file is not None else text,
        html=None if html_file is None else read_text(html_file),
        sender=sender,
        cc=cc,
        bcc=bcc,
        attachments=attachments(attach),
        send_at=send_at,
        expires_at=expires_at,
        idempotency_key=key,
    )
    _publish(here, email, company, user, wait_seconds=wait, as_json=as_json)


def _publish(
    here: Installation,
    email: Email,
    company: str | None,
    user: str | None,
    *,
    wait_seconds: float | None,
    as_json: bool,
) -> None:
    with here.producer(company, user) as producer:
        receipt = producer.send(email)
    if not as_json:
        click.echo(receipt.job_id)
    job, began = None, time.monotonic()
    if wait_seconds is not None:
        tell = _silent if as_json else _tell
        job = _follow(here, receipt.job_id, wait_seconds, tell)
    if as_json:
        document = {"job_id": receipt.job_id, "message_id": receipt.message_id}
        if wait_seconds is not None:
            document["state"] = job.state.value if job else "published"
            document["reason"] = mask_addresses(job.reason) if job else ""
        render.emit(document)
    if wait_seconds is not None:
        _judge(job, time.monotonic() - began)


def _follow(
    here: Installation, job_id: str, wait_seconds: float, tell: Callable[[JobRecord], None]
) -> JobRecord | None:
    """Look at the job until it has come to an end or the time is over; how it was last seen."""
    deadline = time.monotonic() + wait_seconds
    while not here.has_ledger:  # the first worker makes it
        if time.monotonic() >= deadline:
            return None
        time.sleep(LOOK_AGAIN_SECONDS)
    with here.ledger() as ledger:
        return _watch(ledger, job_id, deadline, tell)


def _watch(
    ledger: Ledger, job_id: str, deadline: float, tell: Callable[[JobRecord], None]
) -> JobRecord | None:
    from worker.ledger.queries import find_job
    from worker.ledger.rows import State

    under_way = {State.WAITING, State.CLAIMED, State.DATA}
    last: JobRecord | None = None
    while True:
        job = ledger.read(lambda c, _: find_job(c, job_id))
        if job is not None and (
            last is None or (job.state, job.reason) != (last.state, last.reason)
        ):
            tell(job)
        last = job
        if job is not None and job.state not in under_way:
            return job
        left = deadline - time.monotonic()
        if left <= 0:
            return job
        time.sleep(min(LOOK_AGAIN_SECONDS, left))


def _silent(_job: JobRecord) -> None:
    """JSON tells all of it at the end."""


def _tell(job: JobRecord) -> None:
    said = job.reason or (job.reply if job.state in _WELL else "")
    render.sentence(f"{job.state.value}: {mask_addresses(said)}" if said else job.state.value)


def _judge(job: JobRecord | None, waited_seconds: float) -> None:
    """End with exit code 1 unless the email is sent, or was sent before under the same key.

    Raises:
        Failed: it is not sent.
    """
    if job is not None and (job.state in _WELL or job.reason.startswith("duplicate of ")):
        return
    waited = render.duration(waited_seconds)
    if job is None:
        raise Failed(f"no worker has taken it in within {waited}; it stays published")
    raise Failed(f"{job.job_id} is {job.state} after {waited}")
