"""One text of each statement for both databases: what only the other one knows is left out."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, event

if TYPE_CHECKING:
    import re


def leave_out(engine: Engine, words: re.Pattern[str]) -> None:
    """Take what matches out of every statement that the engine executes."""

    @cache
    def shortened(statement: str) -> str:
        return words.sub("", statement)

    def rewrite(
        _connection: Connection,
        _cursor: object,
        statement: str,
        parameters: Any,
        _context: object,
        _many: bool,
    ) -> tuple[str, Any]:
        return shortened(statement), parameters

    event.listen(engine, "before_cursor_execute", rewrite, retval=True)
