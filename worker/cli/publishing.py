"""What ``postmeter send`` and ``postmeter compose`` share: the email's options, and following it."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any, Final, TypedDict, TypeVar

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

    F = TypeVar("F", bound=Callable[..., Any])

LOOK_AGAIN_SECONDS: Final = 0.1
_WELL: Final = ("sent", "drafted")
_DUPLICATE: Final = re.compile(r"duplicate of (\S+): same idempotency key")
"""The reason of a copy under another id (``worker/ledger/deliveries.py``)."""
_OPTIONS: Final = (
    click.option("--company", help="Whose settings apply; left out, the system's."),
    click.option("--user", help="Whose Email tab applies; left out, the default user's."),
    click.option("--to", multiple=True, required=True, help="A recipient; may be given again."),
    click.option("--cc", multiple=True, help="As --to."),
    click.option("--bcc", multiple=True, help="As --to; the others do not see it."),
    click.option("--subject", required=True, help="One line."),
    click.option("--text", help="The text itself."),
    click.option(
        "--text-file", metavar="FILE", help="The text from a file, or - for standard input."
    ),
    click.option("--html-file", metavar="FILE", help="HTML from a file, or - for standard input."),
    click.option("--attach", multiple=True, metavar="FILE", help="A file; may be given again."),
    click.option("--from", "sender", metavar="ADDRESS", help="Left out, the user's own address."),
    click.option("--send-at", type=Moment(), help="Not before this time (2027-03-01T09:00)."),
    click.option("--expires-at", type=Moment(), help="Not after this time."),
)


class EmailOptions(TypedDict):
    """What the command line says of one email."""

    to: tuple[str, ...]
    cc: tuple[str, ...]
    bcc: tuple[str, ...]
    subject: str
    text: str | None
    text_file: str | None
    html_file: str | None
    attach: tuple[str, ...]
    sender: str | None
    send_at: datetime | None
    expires_at: datetime | None
    key: str | None


def email_options(command: F) -> F:
    """Add the options that say whose email it is and what is in it."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def read_email(options: EmailOptions) -> Email:
    """Make the email that the options describe.

    Raises:
        click.UsageError: two of them contradict each other.
        Failed: a file can't be read.
        InvalidJob: the email can't be published so.
    """
    from producers.emails import Email

    text, text_file, html_file = options["text"], options["text_file"], options["html_file"]
    if text is not None and text_file is not None:
        raise click.UsageError("give --text or --text-file, not both")
    if text_file == html_file == "-":
        raise click.UsageError("only one of --text-file and --html-file can be -")
    return Email(
        options["to"],
        options["subject"],
        text=read_text(text_file) if text_file is not None else text,
        html=None if html_file is None else read_text(html_file),
        sender=options["sender"],
        cc=options["cc"],
        bcc=options["bcc"],
        attachments=attachments(options["attach"]),
        send_at=options["send_at"],
        expires_at=options["expires_at"],
        idempotency_key=options["key"],
    )


def follow(
    here: Installation, job_id: str, wait_seconds: float, *, silent: bool
) -> JobRecord | None:
    """Look at the job until it has come to an end or the time is over; how it was last seen.

    Of a copy under another id that is the job which has its key: what becomes of that one counts.

    Args:
        silent: say nothing meanwhile, for JSON tells all of it at the end.
    """
    deadline = time.monotonic() + wait_seconds
    while not here.has_ledger:  # the first worker makes it
        if time.monotonic() >= deadline:
            return None
        time.sleep(LOOK_AGAIN_SECONDS)
    tell = (lambda _: None) if silent else _tell
    with here.ledger() as ledger:
        job = _watch(ledger, job_id, deadline, tell)
        copy = None if job is None else _DUPLICATE.fullmatch(job.reason)
        return job if copy is None else _watch(ledger, copy[1], deadline, tell)


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


def _tell(job: JobRecord) -> None:
    said = job.reason or (job.reply if job.state in _WELL else "")
    render.sentence(f"{job.state.value}: {mask_addresses(said)}" if said else job.state.value)


def seen(job: JobRecord | None) -> dict[str, str]:
    """Say for JSON how a job was last seen."""
    return {
        "state": job.state.value if job else "published",
        "reason": mask_addresses(job.reason) if job else "",
    }


def judge(job: JobRecord | None, waited_seconds: float) -> None:
    """End with exit code 1 unless the email is sent or drafted.

    Raises:
        Failed: it is not.
    """
    if job is not None and job.state in _WELL:
        return
    waited = render.duration(waited_seconds)
    if job is None:
        raise Failed(f"no worker has taken it in within {waited}; it stays published")
    raise Failed(f"{job.job_id} is {job.state} after {waited}")
