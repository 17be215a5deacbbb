"""``postmeter batch``: publish a batch from a CSV file, follow it, pause or cancel it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import click

from worker.cli import render
from worker.cli.batch_control import cancel, pause, resume
from worker.cli.batch_status import status
from worker.cli.emails import attachments, read_text
from worker.cli.failures import Exit, Failed
from worker.cli.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from producers.csv_batch import CsvBatch
    from producers.emails import Email
    from producers.job import Attachment
    from worker.cli.installation import Installation

_SHOWN_PROBLEMS: Final = 1000


@click.group()
def batch() -> None:
    """Send one email to each row of a file, at the pace of the company."""


for command in (status, pause, resume, cancel):
    batch.add_command(command)


@batch.command()
@click.argument("file", metavar="FILE", type=click.Path(dir_okay=False))
@click.option("--template", required=True, metavar="FILE", help="Header lines, then the text.")
@click.option("--company", help="Whose settings and limit apply; left out, the system's.")
@click.option("--user", help="Whose Email tab applies; left out, the default user's.")
@click.option("--batch-id", help="To go on with a batch that was interrupted.")
@click.option("--attach", multiple=True, metavar="FILE", help="Goes with every email.")
@click.option("--dry-run", is_flag=True, help="Check everything, publish nothing.")
@click.option(
    "--on-invalid",
    type=click.Choice(["abort", "skip"]),
    default="abort",
    show_default=True,
    help="What bad rows do: publish nothing at all, or leave them out.",
)
@render.json_option
@click.pass_obj
def send(
    here: Installation,
    *,
    file: str,
    template: str,
    company: str | None,
    user: str | None,
    batch_id: str | None,
    attach: tuple[str, ...],
    dry_run: bool,
    on_invalid: str,
    as_json: bool,
) -> None:
    """Publish a batch: each row of the CSV FILE, filled into the template.

    The whole file is checked first; bad rows are listed by line number. The template begins with
    header lines (Subject: Hello {{name}}), then an empty line and the text; a column called email
    or to says who gets it. Interrupted? Run it again with --batch-id: nothing is sent twice.
    """
    from producers.identity import uuid7

    whole = _read(file, template, company, user)
    files = attachments(attach)
    _check_with_attachments(whole, files, company, user)
    for problem in whole.problems[:_SHOWN_PROBLEMS]:
        click.echo(f"{file}:{problem.line}: {problem.problem}", err=True)
    unshown = len(whole.problems) - _SHOWN_PROBLEMS
    if unshown > 0:
        click.echo(f"and {unshown:,} more bad rows", err=True)
    if whole.problems and (on_invalid == "abort" or not whole.rows):
        bad = render.plural(len(whole.problems), "bad row")
        raise Failed(f"{bad} in {file}; nothing was published", Exit.USAGE)
    batch_id = batch_id or uuid7()
    if not dry_run:
        if not as_json:
            click.echo(f"batch {batch_id}")
        total = len(whole.rows)
        with here.producer(company, user) as producer, Progress(total) as progress:
            producer.batch(
                _all_rows(whole, files),
                batch_id=batch_id,
                on_invalid="collect",
                progress=progress.tell,
            )
    _report(whole, batch_id, dry_run=dry_run, as_json=as_json)


def _read(file: str, template: str, company: str | None, user: str | None) -> CsvBatch:
    """The file, checked with the template.

    Raises:
        Failed: one of them can't be read, or does not make sense.
    """
    from producers.csv_batch import read_csv
    from producers.errors import InvalidCsv, InvalidTemplate
    from producers.templates import Template

    try:
        return read_csv(file, Template.parse(read_text(template)), company=company, user=user)
    except InvalidTemplate as error:
        raise Failed(f"{template}: {error}", Exit.USAGE) from None
    except InvalidCsv as error:
        raise Failed(f"{file}: {error}", Exit.USAGE) from None
    except OSError as error:
        raise Failed(f"cannot read {file} ({error.strerror})", Exit.USAGE) from None


def _check_with_attachments(
    whole: CsvBatch, files: tuple[Attachment, ...], company: str | None, user: str | None
) -> None:
    """The rows were checked without them, and they are the same for each: one row tells.

    Raises:
        InvalidJob: with them an email is too large.
    """
    from producers.envelope import encode
    from producers.identity import uuid7

    first = next(whole.emails(), None)
    if files and first is not None:
        job = replace(first, attachments=files).to_job("batch", uuid7(), company=company, user=user)
        encode(job, "")


def _all_rows(whole: CsvBatch, files: tuple[Attachment, ...]) -> Iterator[Email]:
    """An email for each row in the order of the file.

    A bad row gives one that nobody gets, which the producer leaves out: so it keeps its place, and
    with it every other row its job id, when the file is mended and sent again as the same batch.
    """
    from producers.emails import Email

    nobody = Email((), "a row that was left out")
    emails = whole.emails()
    lines = [(line, True) for line, _ in whole.rows]
    lines += [(problem.line, False) for problem in whole.problems]
    for _, good in sorted(lines):
        yield replace(next(emails), attachments=files) if good else nobody


def _report(whole: CsvBatch, batch_id: str, *, dry_run: bool, as_json: bool) -> None:
    left_out = len(whole.problems)
    if as_json:
        document: dict[str, Any] = {
            "batch_id": None if dry_run else batch_id,
            "published": 0 if dry_run else len(whole.rows),
            "valid": len(whole.rows),
            "invalid": [{"line": each.line, "problem": each.problem} for each in whole.problems],
        }
        render.emit(document)
        return
    emails = render.plural(len(whole.rows), "email")
    without = f", {render.plural(left_out, 'bad row')} left out" if left_out else ""
    if dry_run:
        click.echo(f"{emails} would be published{without}")
        return
    click.echo(f"{emails} published{without}")
    click.echo(f"follow it: postmeter batch status {batch_id}")
