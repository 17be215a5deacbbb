"""``postmeter top``: how things stand, on a page of the terminal that follows them."""

from __future__ import annotations

import difflib
import math
import os
import signal
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from worker.cli import render
from worker.cli.failures import Failed
from worker.cli.keyboard import SUSPEND, Bell, Keyboard, terminal
from worker.cli.top_feed import BoardSource, Feed
from worker.cli.top_json import board_json
from worker.cli.top_looking import QUIT_KEYS, Looking, companies_of
from worker.cli.top_marks import LETTERS, marks_for
from worker.cli.top_view import Seen, Size, page

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from worker.cli.installation import Installation
    from worker.cli.top_marks import Marks

AGE_SECONDS: Final = 1.0
"""How often the page is drawn anew where nothing happens: it says how old its figures are."""
PIPE_WIDTH: Final = 100
"""How wide a frame is where no terminal says how wide it may be."""


class Interval(click.FloatRange):
    """A range that not-a-number is not in, which is neither below nor above anything."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read a number of the range."""
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value} is not in the range {self.min}<=x<={self.max}", param, ctx)
        return number


@click.command()
@click.option(
    "--every",
    "every_seconds",
    type=Interval(0.2, 3600),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="How often to ask the ledger.",
)
@click.option("--company", help="Only what concerns this company's mail; _system: the system's.")
@click.option("--once", is_flag=True, help="Print one page and end; so it does without a terminal.")
@click.option("--ascii", "is_ascii", is_flag=True, help="Draw with plain letters only.")
@render.json_option
@click.pass_obj
def top(
    here: Installation,
    every_seconds: float,
    company: str | None,
    *,
    once: bool,
    is_ascii: bool,
    as_json: bool,
) -> None:
    """Follow limits, waiting lines and holds on one page.

    Keys: q leaves, p pauses, s sorts the limits, c shows one company after another, ? helps.
    Every figure is counted from the ledger, as the status page's are.
    """
    source = BoardSource(here)
    looking = Looking(company)
    console = Console(highlight=False, _environ=sizeless(os.environ))
    marks = LETTERS if is_ascii else marks_for(console.encoding, os.environ.get("TERM", ""))
    if once or as_json or not console.is_terminal or console.is_dumb_terminal:
        _print_once(source, looking, console, marks, as_json=as_json)
    else:
        _follow(source, every_seconds, looking, console, marks)


def sizeless(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables without a size: a terminal that is made larger keeps no promise of theirs."""
    return {name: value for name, value in environ.items() if name not in {"COLUMNS", "LINES"}}


def _print_once(
    source: BoardSource, looking: Looking, console: Console, marks: Marks, *, as_json: bool
) -> None:
    try:
        board = source.read()
    finally:
        source.close()
    _must_have(looking.company, {*companies_of(board), *source.contexts()})
    if as_json:
        render.emit(board_json(looking.of(board), is_whole=looking.company is None))
        return
    width = render.width() or PIPE_WIDTH
    for line in page(Seen(board, 0.0, now=board.at), looking, Size(width, None), marks, keys=False):
        console.print(line, soft_wrap=True)


def _must_have(company: str | None, known: Collection[str]) -> None:
    """Refuse a company of which nothing is known: it is a slip of the finger."""
    if company is not None and company not in known:
        near = difflib.get_close_matches(company, known, n=1)
        hint = (
            f"; did you mean {near[0]}?" if near else ": it is in no settings, and no mail is its"
        )
        raise Failed(f"nothing is known of a company {company!r}{hint}")


def _follow(
    source: BoardSource, every_seconds: float, looking: Looking, console: Console, marks: Marks
) -> None:
    with Bell() as bell, Feed(source, every_seconds, bell.ring) as feed:
        keyboard = Keyboard(bell, terminal())
        follower = Follower(feed, keyboard, looking, console, marks)
        while follower.follow():
            os.kill(os.getpid(), signal.SIGTSTP)  # the screen and the keys are given back by now


class Follower:
    """Shows page after page until a person has seen enough.

    Args:
        looking: what to show at first.
    """

    def __init__(
        self, feed: Feed, keyboard: Keyboard, looking: Looking, console: Console, marks: Marks
    ) -> None:
        self._feed = feed
        self._keyboard = keyboard
        self._looking = looking
        self._console = console
        self._marks = marks
        self._still: Seen | None = None

    def follow(self) -> bool:
        """Show pages on a screen of their own; whether it ended only to be suspended."""
        live = Live(console=self._console, screen=True, auto_refresh=False)
        with self._keyboard, live:
            while True:
                live.update(self.draw(), refresh=True)
                for key in self._keyboard.wait(AGE_SECONDS):
                    if key == SUSPEND or (key in QUIT_KEYS and not self._looking.help):
                        return key == SUSPEND
                    self.press(key)

    def press(self, key: str) -> None:
        """Do what a key says."""
        board = self._feed.seen().board
        companies = [] if board is None else companies_of(board)
        self._looking = self._looking.after(key, companies)

    def draw(self) -> Text:
        """Draw what is known now, or what was known when the figures were told to stand still.

        Raises:
            Exception: a fault of ours while asking the ledger.
        """
        if self._feed.crashed is not None:
            raise self._feed.crashed
        seen = self._feed.seen()
        if not self._looking.paused:
            self._still = seen
        elif self._still is not None:
            age = self._still.age_seconds + seen.now - self._still.now
            seen = replace(seen, board=self._still.board, age_seconds=age)
        size = Size(*self._console.size)
        keys = sys.stdin.isatty()
        lines = page(seen, self._looking, size, self._marks, keys=keys)
        return Text("\n", no_wrap=True, overflow="crop", end="").join(lines)
