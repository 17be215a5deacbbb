"""``postmeter send``: publish one email, and if asked follow it to its end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Unpack

import click

from worker.cli import render
from worker.cli.publishing import email_options, follow, judge, read_email, seen

if TYPE_CHECKING:
    from worker.cli.installation import Installation
    from worker.cli.publishing import EmailOptions


@click.command()
@email_options
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
    wait: float | None,
    as_json: bool,
    **options: Unpack[EmailOptions],
) -> None:
    """Publish one email; it goes at once, before any batch.

    Prints the job's id once the email is stored durably. `postmeter status ID` tells what became
    of it.
    """
    email = read_email(options)
    with here.producer(company, user) as producer:
        receipt = producer.send(email)
    if not as_json:
        click.echo(receipt.job_id)
    job, began = None, time.monotonic()
    if wait is not None:
        job = follow(here, receipt.job_id, wait, silent=as_json)
    if as_json:
        document = {"job_id": receipt.job_id, "message_id": receipt.message_id}
        render.emit(document if wait is None else {**document, **seen(job)})
    if wait is not None:
        judge(job, time.monotonic() - began)
