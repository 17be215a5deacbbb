"""Reading what the command line says of an email: files, attachments, times."""

from __future__ import annotations

import mimetypes
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from worker.cli.failures import Exit, Failed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from producers.job import Attachment


class Moment(click.ParamType[datetime]):
    """A time in ISO 8601; without a zone it is this machine's time."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Read the time, in UTC."""
        if isinstance(value, datetime):
            return value
        try:
            return datetime.fromisoformat(value).astimezone(UTC)
        except ValueError:
            self.fail(f"{value!r} is no time: write it as 2027-03-01T09:00", param, ctx)


def read_text(path: str) -> str:
    """The text of a file in UTF-8, or of the standard input for ``-``.

    Raises:
        Failed: it can't be read, or is not UTF-8.
    """
    try:
        with click.open_file(path, "rb") as file:
            return str(file.read().decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise Failed(f"{path} is not text in UTF-8", Exit.USAGE) from None
    except OSError as error:
        raise Failed(f"cannot read {path} ({error.strerror})", Exit.USAGE) from None


def attachments(paths: Sequence[str]) -> tuple[Attachment, ...]:
    """The files, as attachments with the type that their names suggest.

    Raises:
        Failed: one can't be read.
        InvalidJob: one has a name that can't be mailed.
    """
    from producers.job import Attachment

    found = []
    for name in paths:
        path = Path(name)
        kind, encoding = mimetypes.guess_type(path.name)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise Failed(f"cannot attach {path} ({error.strerror})", Exit.USAGE) from None
        content_type = "application/octet-stream" if kind is None or encoding else kind
        found.append(Attachment(name=path.name, content_type=content_type, content=content))
    return tuple(found)
