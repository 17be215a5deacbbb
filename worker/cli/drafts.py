"""A job's draft as the command shows it: the link to it, or the unsent message as a file."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from worker.cli import render
from worker.cli.failures import Exit, Failed
from worker.ledger import drafts
from worker.ledger.queries import state_of
from worker.ledger.rows import State

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from worker.cli.installation import Installation
    from worker.ledger.clock import Now
    from worker.ledger.drafts import DraftRecord

STANDARD_OUTPUT: Final = "-"


def read_draft(connection: Connection, job_id: str) -> DraftRecord | None:
    """Find the draft of a drafted job; what a mail that was sent was made from is none."""
    drafted = state_of(connection, job_id) is State.DRAFTED
    return drafts.find(connection, job_id) if drafted else None


def draft_json(draft: DraftRecord | None) -> dict[str, Any] | None:
    """A draft for JSON."""
    if draft is None:
        return None
    return {
        "kind": drafts.kind_of(is_file=draft.size_bytes is not None),
        "web_link": draft.web_link or None,
        "size_bytes": draft.size_bytes,
        "made_at": render.iso(draft.made_at),
    }


def describe(job_id: str, draft: DraftRecord) -> str:
    """Say how a person gets at a draft."""
    if draft.size_bytes is None:
        return draft.web_link or "in the mailbox, among the drafts"
    size = render.plural(draft.size_bytes, "byte")
    return f"an unsent message of {size}: `postmeter status {job_id} --eml FILE` writes it"


def write_eml(here: Installation, job_id: str, path: str, *, replace: bool) -> None:
    """Write a job's unsent message to a file, or to the standard output for ``-``.

    Args:
        replace: whether a file that is there already may be overwritten.

    Raises:
        Failed: there is no such job or draft, or it can't be written there.
    """
    with here.ledger() as ledger:
        content = ledger.read(lambda c, now: _content(c, now, job_id))
    if path == STANDARD_OUTPUT:
        click.echo(content, nl=False)
        return
    try:
        _write_whole(Path(path), content, replace=replace)
    except FileExistsError:
        raise Failed(f"{path} is there already: --force overwrites it", Exit.USAGE) from None
    except OSError as error:
        raise Failed(f"cannot write {path} ({error.strerror})", Exit.USAGE) from None


def _write_whole(path: Path, content: bytes, *, replace: bool) -> None:
    """Write a file whole or not at all; through a link, and straight into what is no file.

    Raises:
        FileExistsError: it is there, and may not be replaced.
        OSError: it can't be written; what was there before is still there.
    """
    if replace and path.exists() and not path.is_file():
        path.write_bytes(content)
        return
    path = path.resolve()
    if not replace:
        path.open("xb").close()  # the name is ours from here on
    beside = path.with_name(f".{path.name[:200]}.{secrets.token_hex(4)}")
    try:
        with beside.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        if not replace:
            path.unlink(missing_ok=True)
        raise


def _content(connection: Connection, _now: Now, job_id: str) -> bytes:
    state = state_of(connection, job_id)
    if state is None:
        raise Failed(f"the ledger has no job {job_id}: it was not taken in yet, or it was pruned")
    draft = read_draft(connection, job_id)
    if draft is None:
        raise Failed(f"{job_id} is {state}: it has no draft")
    content = drafts.content_of(connection, job_id)
    if content is None:
        raise Failed(f"the draft of {job_id} is no file: {describe(job_id, draft)}")
    return content
