"""Asks the ledger how things stand, again and again, beside whoever shows it.

A slow ledger keeps no key waiting, and one that is away is asked again until it is back.
"""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, Protocol, Self

from worker.cli.failures import Failed
from worker.cli.top_view import Seen
from worker.errors import LedgerError
from worker.telemetry.board_reading import BoardReader

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from config.settings import Settings
    from config.watcher import SettingsWatcher
    from worker.cli.installation import Installation
    from worker.ledger.ledger import Ledger
    from worker.telemetry.board import Board

END_SECONDS: Final = 1.0
"""How long the end waits for an answer that is under way."""


class Reader(Protocol):
    """Something that tells how things stand."""

    def read(self) -> Board:
        """Read a board."""

    def close(self) -> None:
        """Let go of what was opened."""


class BoardSource:
    """Reads boards of one installation; opens its ledger again after every failure.

    Raises:
        ProcessInvalid: a variable is wrong or unknown.
    """

    def __init__(self, here: Installation) -> None:
        self._here = here
        self._watcher: SettingsWatcher | None = here.watcher()
        self._open = ExitStack()
        self._ledger: Ledger | None = None
        self._file: tuple[int, int] | None = None
        self._reader = BoardReader()

    def read(self) -> Board:
        """Read how things stand now.

        Raises:
            Failed: there is no ledger.
            LedgerUnavailable: it cannot be read now.
            LedgerUnusable: it is of another version.
        """
        if self._watcher is None:
            self._watcher = self._here.watcher()
        else:
            self._watcher.poll()
        try:
            if _identity(self._here.ledger_file) != self._file:
                self.close()  # SQLite would go on reading a file that was removed or replaced
            if self._ledger is None:
                self._file = _identity(self._here.ledger_file)
                self._ledger = self._open.enter_context(self._here.ledger())
                self._reader = BoardReader()
            return self._reader.read(self._ledger, self._settings())
        except BaseException:
            self.close()
            raise

    def contexts(self) -> set[str]:
        """The companies that the settings have, and the system."""
        settings = self._settings()
        return set() if settings is None else set(settings.contexts())

    def _settings(self) -> Settings | None:
        return None if self._watcher is None else self._watcher.current

    def close(self) -> None:
        """Close the ledger; safe to call twice."""
        self._ledger = None
        self._open.close()


def _identity(file: Path | None) -> tuple[int, int] | None:
    """Which file it is; None for a ledger that is no file, and for a file that is not there."""
    try:
        status = None if file is None else file.stat()
    except OSError:
        return None
    return None if status is None else (status.st_dev, status.st_ino)


class Feed:
    """Reads boards in a thread of its own; a context manager.

    Args:
        every_seconds: from the end of one answer to the next question.
        tell: called when there is something new.

    Attributes:
        crashed: a fault of ours in the thread, for whoever shows the boards to raise.
    """

    def __init__(
        self,
        reader: Reader,
        every_seconds: float,
        tell: Callable[[], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._reader = reader
        self._every_seconds = every_seconds
        self._tell = tell
        self._clock = clock
        self._wall = wall
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._board: tuple[float, Board] | None = None
        self._away: tuple[float, str] | None = None
        self.crashed: BaseException | None = None
        # A daemon: a database that never answers must not keep the program from ending.
        self._thread = threading.Thread(target=self._run, name="top-feed", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(END_SECONDS)

    def seen(self) -> Seen:
        """What is known now."""
        with self._lock:
            asked_at, board = self._board or (self._clock(), None)
            since, why = self._away or (0.0, "")
        return Seen(board, self._clock() - asked_at, why, since, self._wall())

    def _run(self) -> None:
        try:
            while not self._ended.is_set():
                self.look()
                self._tell()
                self._ended.wait(self._every_seconds)
        except Exception as error:  # noqa: BLE001 - whoever shows the boards raises it
            self.crashed = error
            self._tell()
        finally:
            self._reader.close()

    def look(self) -> None:
        """Ask once, and keep the answer, or why there is none and since when."""
        asked_at, asked_at_wall = self._clock(), self._wall()
        try:
            board = self._reader.read()
        except (LedgerError, Failed) as error:
            why = error.message if isinstance(error, Failed) else str(error)
            with self._lock:
                self._away = (self._away[0] if self._away else asked_at_wall, why)
            return
        with self._lock:
            self._board, self._away = (asked_at, board), None


__all__ = ["BoardSource", "Feed", "Reader"]
