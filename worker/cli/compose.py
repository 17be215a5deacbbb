"""``postmeter compose``: have a draft made, and say where it is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Unpack

import click

from worker.cli import render
from worker.cli.drafts import describe, draft_json, read_draft
from worker.cli.publishing import email_options, follow, judge, read_email, seen

if TYPE_CHECKING:
    from worker.cli.installation import Installation
    from worker.cli.publishing import EmailOptions

WAIT_SECONDS: Final = 30.0


@click.command()
@email_options
@click.option("--key", help="The same key with the same email is drafted once.")
@click.option(
    "--wait",
    type=click.FloatRange(0),
    default=WAIT_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="Wait so long for the draft; exit code 1 unless it is made. 0: only publish.",
)
@render.json_option
@click.pass_obj
def compose(
    here: Installation,
    *,
    company: str | None,
    user: str | None,
    wait: float,
    as_json: bool,
    **options: Unpack[EmailOptions],
) -> None:
    """Let a worker make a draft that a person edits and sends.

    The settings say where (mail_options.compose): in the user's Microsoft 365 mailbox, then its
    link is printed; or as an unsent message, which `postmeter status ID --eml FILE` writes.
    """
    email = read_email(options)
    with here.producer(company, user) as producer:
        receipt = producer.compose(email)
    if not as_json:
        click.echo(receipt.job_id)
    job, draft, began = None, None, time.monotonic()
    if wait:
        job = follow(here, receipt.job_id, wait, silent=as_json)
    if job is not None:
        made_as = job.job_id  # of the same key with the same email, the first
        with here.ledger() as ledger:
            draft = ledger.read(lambda c, _: read_draft(c, made_as))
        if draft is not None and not as_json:
            render.sentence(describe(made_as, draft))
    if as_json:
        document = {"job_id": receipt.job_id, "message_id": receipt.message_id}
        told = {**seen(job), "draft": draft_json(draft)}
        render.emit({**document, **told} if wait else document)
    if wait:
        judge(job, time.monotonic() - began)
