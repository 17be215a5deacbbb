"""Counts what a ledger is asked, and how much work that is to its database; no clock is read."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STEPS_AT_ONCE = 100


class Counts:
    """What the ledgers that were opened inside the block have done since the last ``restart``.

    Attributes:
        statements: how often each statement was run.
        steps: by statement, how many hundreds of instructions of SQLite's virtual machine it took.
    """

    def __init__(self) -> None:
        self.statements: Counter[str] = Counter()
        self.steps: Counter[str] = Counter()
        self._last = ""

    def restart(self) -> None:
        """Count from 0 again."""
        self.statements.clear()
        self.steps.clear()

    def _on_connect(self, connection: Any, _record: object) -> None:
        if hasattr(connection, "set_progress_handler"):  # SQLite's alone
            connection.set_progress_handler(self._on_progress, STEPS_AT_ONCE)

    def _on_progress(self) -> int:
        self.steps[self._last] += 1
        return 0

    def _on_execute(self, _connection: object, _cursor: object, statement: str, *_: object) -> None:
        self.statements[statement] += 1
        self._last = statement


@contextmanager
def counted() -> Iterator[Counts]:
    """Count for every ledger that is opened inside the block."""
    counts = Counts()
    listeners: list[tuple[str, Callable[..., object]]] = [
        ("connect", counts._on_connect),
        ("before_cursor_execute", counts._on_execute),
    ]
    for name, listener in listeners:
        event.listen(Engine, name, listener)
    try:
        yield counts
    finally:
        for name, listener in listeners:
            event.remove(Engine, name, listener)
