"""One page of ``postmeter top``, from a board and what a person has chosen to see; pure.

What matters most comes first, and what has no room is counted: ``… and 12 more``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from rich.cells import cell_len
from rich.text import Text

from worker.cli import render, top_parts
from worker.cli.top_looking import companies_of
from worker.cli.top_parts import ALARM, CAUTION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.cli.top_looking import Looking
    from worker.cli.top_marks import Marks
    from worker.cli.top_table import Table
    from worker.telemetry.board import Board

LATE_SECONDS: Final = 5.0
"""From which age on the page says how old its figures are."""
LONGEST_HEED: Final = 3
"""How many lines one thing that needs a look may take; but one on a screen of few lines."""
FEW_LINES: Final = 30
_LEAST_LINES: Final = (6, 4, 3, 3, 3)
"""How many lines a table gets before the ones below it get any."""
_FEWEST_LINES: Final = 3
"""A table's titles, its first row, and how much more there is."""
_NO_LIMIT: Final = "no limit is set, or this machine has no settings"

_HELP: Final = (
    ("q", "leave"),
    ("p", "let the figures stand still, and go on"),
    ("s", "sort the limits: most used, most waiting, by name"),
    ("c", "show only the next company; C or left: the one before; a: all"),
    ("?", "this page; any key leaves it"),
    ("", ""),
    ("LAST 60 S", "what servers have accepted in the last minute, of what is allowed"),
    ("WORST", "the most in any minute of the last hour; it may be of a higher limit before"),
    ("LAST HOUR", "each minute's or minutes' part of the limit, the newest at the end"),
    ("WAITING", "due emails that this limit keeps"),
    ("EMPTY IN", "until what is due of the company has left, as things are now"),
    ("FOR", "limit, date, retry, turn; held: see HELD; settings: see postmeter settings check"),
)


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known now.

    Attributes:
        board: what the ledger said last; None before it has said anything.
        age_seconds: how old that is.
        away: why the ledger says nothing now; empty while it does.
        away_since: since when, in Unix seconds.
        now: Unix seconds, on this machine's clock.
    """

    board: Board | None
    age_seconds: float
    away: str = ""
    away_since: float = 0.0
    now: float = 0.0


class Size(NamedTuple):
    """The room there is; ``height`` is None where a page may be as long as it likes."""

    width: int
    height: int | None


def page(
    seen: Seen, looking: Looking, size: Size, marks: Marks, *, keys: bool = True
) -> list[Text]:
    """Draw a page that fits.

    Args:
        keys: whether keys are read; then the last line names them.
    """
    bottom = [_keys(looking, size.width, marks)] if keys else []
    top = _top(seen, looking, size, marks)
    room = None if size.height is None else size.height - len(top) - len(bottom)
    if looking.help:
        middle = _help(size.width)
    elif seen.board is None:
        middle = [] if seen.away else [Text("asking the ledger")]
    else:
        middle = _tables(looking.of(seen.board), size.width, room, marks)
    if room is None:
        return [*top, *middle, *bottom]
    middle = middle[: max(0, room)]
    middle += [Text()] * max(0, room - len(middle))
    lines = [*top, *middle, *bottom][: size.height]
    for line in lines:
        _cut(line, size.width, marks)
    return lines


def _top(seen: Seen, looking: Looking, size: Size, marks: Marks) -> list[Text]:
    """What stands above the tables: the time, the whole in figures, what needs a look."""
    board = None if seen.board is None else looking.of(seen.board)
    lines = _flow(_headline(seen, looking, board, marks), size.width, marks)
    if seen.away:
        since = render.local(seen.away_since, seen.now)
        ago = render.duration(seen.now - seen.away_since)
        away = (ALARM, f"ledger away since {since}, {ago}", seen.away)
        lines += _heed(away, size.width, marks, LONGEST_HEED)
    if seen.board is not None and looking.company not in {None, *companies_of(seen.board)}:
        unknown = (CAUTION, "nothing is known of", f"{looking.company}; c shows another company")
        lines += _heed(unknown, size.width, marks, 1)
    if board is not None:
        lines += _flow(_sums(board), size.width, marks)
        most = LONGEST_HEED if size.height is None or size.height >= FEW_LINES else 1
        for each in top_parts.heeds(board):
            lines += _heed(each, size.width, marks, most)
    if size.height is not None:  # on a small screen the figures come first
        lines = lines[: max(1, size.height // 2)]
    return lines


def _headline(seen: Seen, looking: Looking, board: Board | None, marks: Marks) -> list[Text]:
    if board is None:
        return [Text("postmeter", "bold"), Text(render.local(seen.now, seen.now))]
    at = Text(render.local(board.at, seen.now), "bold")
    if looking.paused or seen.age_seconds >= LATE_SECONDS:
        at.append(f", {render.duration(seen.age_seconds)} old", CAUTION)
    if looking.paused:
        at.append(", paused", CAUTION)
    alive = [worker for worker in board.workers if worker.alive]
    ready = sum(worker.ready for worker in alive)
    parts = [
        Text.assemble(("postmeter", "bold"), f" {marks.text(board.version)}"),
        at,
        Text(f"{ready} of {render.plural(len(alive), 'worker')} ready" if alive else "no worker"),
    ]
    if not seen.away:
        parts.append(Text(f"ledger {board.trouble or 'ok'}"))
    if looking.company is not None:
        parts.append(Text(f"only {marks.text(looking.company)}", "bold"))
    return parts


def _sums(board: Board) -> list[Text]:
    """The whole in figures."""
    waiting = sum(line.jobs for line in board.lines)
    drains = [line.drain_seconds for line in board.lines if line.drain_seconds is not None]
    parts = [f"{waiting:,} waiting" if waiting else "nothing waits"]
    if board.oldest_due_at is not None and board.oldest_due_at < board.at:
        parts.append(f"oldest due {render.duration(board.at - board.oldest_due_at)} ago")
    if drains:
        parts.append(f"empty in {render.duration(max(drains))}")
    if board.in_hand:
        parts.append(f"{board.in_hand:,} in hand")
    if board.holds:
        parts.append(f"{len(board.holds):,} held")
    return [Text(part) for part in parts]


def _flow(parts: Sequence[Text], width: int, marks: Marks) -> list[Text]:
    """Put parts beside each other, and below where there is no room."""
    lines: list[Text] = []
    for part in parts:
        if lines and lines[-1].cell_len + len(marks.dot) + part.cell_len <= width:
            lines[-1].append(marks.dot).append_text(part)
        else:
            lines.append(Text().append_text(part))
    return lines


def _heed(heed: tuple[str, str, str], width: int, marks: Marks, most: int) -> list[Text]:
    """Say one thing that needs a look, in at most so many lines."""
    style, what, more = heed
    words = render.wrapped(f"{what}: {marks.text(more)}", max(1, width))
    if len(words) > most:
        words = [*words[: most - 1], marks.cut(" ".join(words[most - 1 :]), width)]
    lines = [Text(each) for each in words]
    lines[0].stylize(style, 0, len(what))
    return lines


def _tables(board: Board, width: int, room: int | None, marks: Marks) -> list[Text]:
    """As much of each table as there is room for, and an empty line between them if there is."""
    tables: list[Table[Any]] = [
        top_parts.limits(board, marks),
        top_parts.lines(board, marks),
        top_parts.holds(board, marks),
        top_parts.days(board, marks),
        top_parts.workers(board, marks),
    ]
    wanted = [1 + len(table.rows) if table.rows else 0 for table in tables]
    counts = wanted if room is None else shares(wanted, room)
    gaps = room is None or sum(counts) + sum(map(bool, counts)) <= room
    lines = [] if board.scopes else [Text(_NO_LIMIT, "dim")]
    for table, count in zip(tables, counts, strict=True):
        lines += [Text()] if gaps and count else []
        lines += table.lines(width, count, marks) if count else []
    return lines


def shares(wanted: Sequence[int], room: int) -> list[int]:
    """How many lines each table gets: the first ones a few, then each one more in turn."""
    counts = []
    for lines, least in zip(wanted, _LEAST_LINES, strict=True):
        count = min(lines, least, room)
        counts.append(count if count == lines or count >= _FEWEST_LINES else 0)
        room -= counts[-1]
    while room > 0:
        short = [i for i, lines in enumerate(wanted) if 0 < counts[i] < lines]
        if not short:
            break
        for i in short[:room]:
            counts[i] += 1
        room -= len(short)
    return counts


def _keys(looking: Looking, width: int, marks: Marks) -> Text:
    """What the keys do; on a narrow terminal those that are most needed."""
    company = looking.company or "all"
    keys = [
        ("q", "leave"),
        ("p", "go on" if looking.paused else "pause"),
        ("s", looking.order.value),
        ("c", f"company: {marks.text(company)}"),
        ("?", "help"),
    ]
    while len(keys) > 1 and sum(cell_len(key + does) + 3 for key, does in keys) - 2 > width:
        del keys[-2 if len(keys) > 2 else -1]  # noqa: PLR2004 - the first and the last stay longest
    line = Text(style="dim")
    for key, does in keys:
        line.append("  " if line else "").append(key, "bold not dim").append(f" {does}")
    return line


def _help(width: int) -> list[Text]:
    size = max(len(name) for name, _ in _HELP) + 2
    lines = [Text()]
    for name, what in _HELP:
        first, *more = render.wrapped(what, max(10, width - size))
        lines.append(Text.assemble((name.ljust(size), "bold"), first))
        lines += [Text(" " * size + part) for part in more]
    return lines


def _cut(line: Text, width: int, marks: Marks) -> None:
    if line.cell_len > width:
        line.truncate(max(0, width - len(marks.more)))
        line.append(marks.more[:width])


__all__ = ["Seen", "Size", "page", "shares"]
