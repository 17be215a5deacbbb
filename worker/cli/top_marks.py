"""The marks that ``postmeter top`` draws with: bars, an hour as a row of blocks; pure.

Each has a stand-in of plain letters for terminals whose encoding or font has no blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.cells import cell_len, set_cell_size

if TYPE_CHECKING:
    from collections.abc import Sequence

HOUR_WIDTHS: Final = (60, 30, 20, 15, 12, 10)
"""Into how many parts an hour can be told, each of them of whole minutes."""
_PLAIN_TERMINALS: Final = frozenset({"linux", "vt100", "vt102", "vt220"})
"""Their fonts have no eighths of a block, whatever the encoding."""


@dataclass(frozen=True, slots=True)
class Marks:
    """One set of marks.

    Attributes:
        full, rest: of a bar: what is used, and what is left.
        levels: of an hour's parts, from a little to the limit.
        none: of a part in which nothing was accepted.
        more: where something was cut off.
        dot: between two things on a line.
        arrows: the keys that choose a company.
    """

    full: str
    rest: str
    levels: str
    none: str
    more: str
    dot: str
    arrows: str

    def bar(self, share: float, width: int) -> tuple[str, str]:
        """Draw a share of 1: the used part, which is never all but at 1, and the rest."""
        used = min(int(max(0.0, share) * width), width) or int(share > 0)
        return self.full * used, self.rest * (width - used)

    def hour(self, minutes: Sequence[int], limit: int | None, width: int) -> str:
        """Draw what each minute held, as high as its part of the limit, the newest at the end.

        Without a limit the highest part is as high as can be. A part of several minutes is as high
        as their mean; minutes that are not known are left out.
        """
        parts = next((each for each in HOUR_WIDTHS if each <= width), HOUR_WIDTHS[-1])
        each = HOUR_WIDTHS[0] // parts
        sums = [sum(minutes[max(0, at - each) : at]) for at in range(len(minutes), 0, -each)]
        top = limit * each if limit else max(sums, default=0)
        return "".join(self._level(count, top) for count in reversed(sums)).rjust(parts)

    def _level(self, count: int, top: int) -> str:
        if not count:
            return self.none
        steps = len(self.levels)
        return self.levels[min(steps, max(1, round(count / top * steps))) - 1]

    def text(self, text: str) -> str:
        """Make a name fit to be shown: nothing in it may steer the terminal."""
        if not text.isprintable():
            text = "".join(each if each.isprintable() else "?" for each in text)
        return text.encode("ascii", "replace").decode("ascii") if self.full.isascii() else text

    def cut(self, text: str, width: int) -> str:
        """Shorten a text to so many columns, and say so."""
        if cell_len(text) <= width:
            return text
        return set_cell_size(text, max(0, width - len(self.more))).rstrip() + self.more[:width]


# No whole block: that of one row would grow into the row above.
BLOCKS: Final = Marks("━", "─", "▁▂▃▄▅▆▇", "·", "…", " · ", "←→")
LETTERS: Final = Marks("#", "-", "123456789", ".", "~", ", ", "arrows")


def marks_for(encoding: str, terminal: str) -> Marks:
    """Choose what a terminal can show, by its encoding and its name (``TERM``)."""
    is_unicode = encoding.lower().replace("-", "").startswith("utf")
    return BLOCKS if is_unicode and terminal not in _PLAIN_TERMINALS else LETTERS


__all__ = ["BLOCKS", "HOUR_WIDTHS", "LETTERS", "Marks", "marks_for"]
