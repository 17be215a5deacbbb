"""How far a batch is: a bar at a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Final, Self

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.progress import Progress as Bar

_LINE_SECONDS: Final = 5.0


class Progress:
    """Counts emails on stderr; a context manager.

    Args:
        total: how many there will be.
        clock: seconds that only grow.
        doing, done: what happens to the emails, in words.
    """

    def __init__(
        self,
        total: int,
        clock: Callable[[], float] = time.monotonic,
        *,
        doing: str = "publishing",
        done: str = "published",
    ) -> None:
        self._total = total
        self._clock = clock
        self._said_at = clock()
        self._bar = _bar() if sys.stderr.isatty() else None
        self._task = self._bar.add_task(doing, total=total) if self._bar else None
        self._done = done

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def tell(self, count: int) -> None:
        """Show that it is done for so many (published: stored durably)."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=count)
        elif self._clock() - self._said_at >= _LINE_SECONDS:
            self._said_at = self._clock()
            click.echo(f"{count:,} of {self._total:,} {self._done}", err=True)


def _bar() -> Bar:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
