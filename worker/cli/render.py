"""How the command writes: tables that fit the terminal, times, durations, JSON.

Text from outside (a server's reply, a subject) must not steer the terminal: what is printed in
tables, fields and sentences has its control characters taken out.
"""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from worker import wording
from worker.telemetry.masking import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    F = TypeVar("F", bound=Callable[..., Any])

duration: Final = wording.duration
number: Final = wording.number
plural: Final = wording.plural
_GAP: Final = "  "
_LEAST_LAST: Final = 40


def json_option(command: F) -> F:
    """Add ``--json`` to a command."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def emit(document: object) -> None:
    """Print one JSON document."""
    click.echo(json.dumps(document, ensure_ascii=False, indent=2))


def width() -> int | None:
    """How wide the terminal is; None where nothing needs to fit (a pipe, a file)."""
    if sys.stdout is None or not sys.stdout.isatty():  # None: it was closed before we began
        return None
    return shutil.get_terminal_size((80, 24)).columns


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    numbers: Sequence[str] = (),
    fit: int | None = None,
) -> str:
    """Lay rows out in columns; the last one is broken to fit into ``fit`` columns of text.

    Args:
        numbers: the columns that stand flush right.
    """
    cells = [[one_line(str(value)) for value in row] for row in rows]
    sizes = [
        max(len(title), *(len(row[i]) for row in cells)) if cells else len(title)
        for i, title in enumerate(columns)
    ]
    left = sum(sizes[:-1]) + len(_GAP) * (len(columns) - 1)

    def line(row: Sequence[str]) -> list[str]:
        return [
            value.rjust(size) if title in numbers else value.ljust(size)
            for title, value, size in zip(columns, row, sizes, strict=True)
        ]

    if fit is None or left + sizes[-1] <= fit:
        lines = [_GAP.join(line(row)) for row in (columns, *cells)]
    elif fit - left >= _LEAST_LAST:
        lines = [_GAP.join(line(columns))]
        for row in cells:
            first, *more = wrapped(row[-1], fit - left)
            lines += [_GAP.join([*line(row)[:-1], first]), *(" " * left + part for part in more)]
    else:  # no room beside the others: below them
        lines = [_GAP.join(line(columns)[:-1])]
        for row in cells:
            lines.append(_GAP.join(line(row)[:-1]))
            lines += [f"    {part}" for part in wrapped(row[-1], fit - 4) if part]
    return "\n".join(each.rstrip() for each in lines)


def wrapped(text: str, room: int) -> list[str]:
    """Break a text into lines; a word that has no room on one is broken too, but never a link."""
    whole = "https://" in text
    return textwrap.wrap(text, room, break_on_hyphens=False, break_long_words=not whole) or [""]


def show(
    columns: Sequence[str], rows: Iterable[Sequence[object]], numbers: Sequence[str] = ()
) -> None:
    """Print a table that fits the terminal, its titles in bold where there is one."""
    titles, *lines = table(
        [column.upper() for column in columns],
        rows,
        numbers=[column.upper() for column in numbers],
        fit=width(),
    ).split("\n")
    click.secho(titles, bold=True)
    for line in lines:
        click.echo(line)


def sentence(text: str) -> None:
    """Print a sentence, broken to fit the terminal."""
    fit = width()
    for line in [one_line(text)] if fit is None else wrapped(one_line(text), fit):
        click.echo(line)


def fields(pairs: Iterable[tuple[str, str]]) -> None:
    """Print names and values below each other; a pair without a value is left out."""
    kept = [(name, one_line(value)) for name, value in pairs if value]
    size = max(len(name) for name, _ in kept)
    fit = width()
    for name, value in kept:
        first, *more = [value] if fit is None else wrapped(value, fit - size - len(_GAP))
        click.echo(f"{click.style(name.ljust(size), bold=True)}{_GAP}{first}")
        for part in more:
            click.echo(f"{' ' * size}{_GAP}{part}")


def local(wall: float, now_wall: float) -> str:
    """A time of day, with its date where that is not today's; both are Unix seconds."""
    at = datetime.fromtimestamp(wall, tz=UTC).astimezone()
    today = datetime.fromtimestamp(now_wall, tz=UTC).astimezone().date()
    return f"{at:%H:%M:%S}" if at.date() == today else f"{at:%Y-%m-%d %H:%M:%S}"


def iso(wall: float | None) -> str | None:
    """A time for JSON: RFC 3339, in UTC."""
    if wall is None:
        return None
    return datetime.fromtimestamp(wall, tz=UTC).isoformat(timespec="milliseconds")
