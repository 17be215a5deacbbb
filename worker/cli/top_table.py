"""Tables that fit any terminal: columns shrink, grow, and are left out by their rank; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from rich.cells import cell_len
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.cli.top_marks import Marks

R = TypeVar("R")
GAP: Final = 2
TITLE_STYLE: Final = "bold"


@dataclass(frozen=True, slots=True)
class Column(Generic[R]):
    """One column.

    Attributes:
        draw: a row's text in so many columns of the terminal.
        least, most: how wide it may be.
        rank: the higher, the sooner it is left out; 0 never is.
        right: whether it stands flush right.
        steps: the only widths that it may have, the largest first; else any.
    """

    title: str
    draw: Callable[[R, int], Text]
    least: int
    most: int
    rank: int = 0
    right: bool = False
    steps: tuple[int, ...] = ()

    def snapped(self, width: int) -> int:
        """The next width below that it may have."""
        return next((step for step in self.steps if step <= width), width)


def words(
    title: str,
    rows: Sequence[R],
    of: Callable[[R], str],
    marks: Marks,
    *,
    rank: int = 0,
    least: int | None = None,
    right: bool = False,
    style: Callable[[R], str] = lambda _row: "",
) -> Column[R]:
    """A column of words, as wide as the widest of them.

    Args:
        least: to how much it may be cut; left out, it is shown whole.
    """
    widest = max([len(title), *(cell_len(marks.text(of(row))) for row in rows)])
    return Column(
        title,
        lambda row, width: Text(marks.cut(marks.text(of(row)), width), style(row)),
        min(widest, max(least or widest, len(title))),
        widest,
        rank,
        right,
    )


@dataclass(frozen=True, slots=True)
class Table(Generic[R]):
    """Rows below a line of titles; only those that are shown are drawn."""

    rows: Sequence[R]
    columns: Sequence[Column[R]]

    def lines(self, width: int, count: int, marks: Marks) -> list[Text]:
        """Draw it in at most ``count`` lines, the last of which says what is left out."""
        fitted = fit(self.columns, width)
        titles = Text(style=TITLE_STYLE)
        _join(titles, [(c, Text(c.title), size) for c, size in fitted])
        shown = len(self.rows) if len(self.rows) < count else max(0, count - 2)
        lines = [titles]
        for row in self.rows[:shown]:
            line = Text()
            _join(line, [(c, c.draw(row, size), size) for c, size in fitted])
            lines.append(line)
        if shown < len(self.rows):
            lines.append(Text(f"{marks.more} and {len(self.rows) - shown:,} more", "dim"))
        return lines[:count]


def fit(columns: Sequence[Column[R]], width: int) -> list[tuple[Column[R], int]]:
    """Choose the columns that have room, and how wide each is.

    The widths go up to ``most`` in the order of the ranks.
    """
    kept = list(columns)
    while sum(c.least + GAP for c in kept) - GAP > width and any(c.rank for c in kept):
        kept.remove(max(kept, key=lambda c: c.rank))
    spare = max(0, width - (sum(c.least + GAP for c in kept) - GAP))
    sizes = {}
    for column in sorted(kept, key=lambda c: c.rank):
        size = column.snapped(min(column.least + spare, column.most))
        sizes[column.title] = size
        spare -= size - column.least
    return [(column, sizes[column.title]) for column in kept]


def _join(line: Text, cells: Sequence[tuple[Column[R], Text, int]]) -> None:
    for index, (column, cell, size) in enumerate(cells):
        blank = " " * max(0, size - cell.cell_len)
        line.append(" " * GAP if index else "")
        if column.right:
            line.append(blank)
        line.append_text(cell)
        if not column.right:
            line.append(blank)
    line.rstrip()


__all__ = ["GAP", "Column", "Table", "fit", "words"]
