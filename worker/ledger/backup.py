"""A copy of an SQLite ledger while workers go on; PostgreSQL has tools of its own for that.

SQLite's online backup in one step is a read: it holds up no writer, and is of one moment
(https://www.sqlite.org/backup.html). The copy gets its name when it is whole and on the disk.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import make_url

from worker.errors import LedgerUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

_ALL_AT_ONCE: Final = -1


def back_up(url: str, target: Path) -> int:
    """Copy the ledger to a new file that nobody else may read; its size in bytes.

    Args:
        url: of an SQLite ledger that is there.

    Raises:
        FileExistsError: there is a file of that name.
        OSError: the copy cannot be written.
        LedgerUnavailable: the ledger cannot be read now.
    """
    if target.exists():
        raise FileExistsError(target)
    source = str(make_url(url).database)
    with _file_beside(target) as partial:
        try:
            _copy(source, partial)
        except sqlite3.Error as error:
            raise LedgerUnavailable(f"the ledger {source} cannot be copied now: {error}") from None
        _sync(partial)
        os.link(partial, target)  # unlike a rename it never takes another file's place
    _sync(target.parent)
    return target.stat().st_size


def _copy(source: str, target: Path) -> None:
    with (
        closing(sqlite3.connect(f"{Path(source).absolute().as_uri()}?mode=ro", uri=True)) as ledger,
        closing(sqlite3.connect(target)) as copy,
    ):
        ledger.backup(copy, pages=_ALL_AT_ONCE)
        # A copy of a ledger says that it has a log beside it; this one is to be one file.
        copy.execute("PRAGMA journal_mode = DELETE").fetchall()


@contextmanager
def _file_beside(target: Path) -> Iterator[Path]:
    """A new file that only this user can read, beside another; it is gone afterwards."""
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    os.close(descriptor)
    try:
        yield Path(name)
    finally:
        Path(name).unlink()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
