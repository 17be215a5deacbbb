"""Whether an SQLite ledger's file is still the one that this process opened.

SQLite goes on writing into a file that was deleted or moved away, and says nothing: mails would
leave that no other process and no restart ever hears of. So every transaction looks first; and once
a process has opened a ledger it makes no new one in its place, which would know of no slot in use.
Neither does one that only looks, nor a folder: what was moved away would come back inside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import event

from worker.errors import LedgerUnavailable

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection, Engine

_opened: set[Path] = set()
_IDENTITY = "identity of the file"


class _Identity(NamedTuple):
    device: int
    inode: int


def may_make(path: Path) -> bool:
    """Whether this process has not opened this ledger yet."""
    return path.absolute() not in _opened


def watch_file(engine: Engine, path: Path, *, must_exist: bool = False) -> None:
    """Let every connection and transaction of an engine fail while its file is gone.

    They raise ``LedgerUnavailable``. A file that was put back is used again, whichever it is.

    Args:
        must_exist: let a connection fail too where there never was a file.
    """
    path = path.absolute()

    def before_connect(*_: object) -> None:
        if _identity(path) is not None:
            return
        if not may_make(path):
            raise _gone(path)
        if must_exist:
            raise LedgerUnavailable(f"there is no ledger at {path} yet: a worker makes it")

    def on_connect(_dbapi_connection: object, record: object) -> None:
        _opened.add(path)
        record.info[_IDENTITY] = _identity(path)  # type: ignore[attr-defined]  # SQLAlchemy's _ConnectionRecord

    def on_begin(connection: Connection) -> None:
        now = _identity(path)
        if now is None or now != connection.info[_IDENTITY]:
            raise _gone(path)

    event.listen(engine, "do_connect", before_connect)
    event.listen(engine, "connect", on_connect)
    # After the one that begins the transaction: its wait for the lock may be long.
    event.listen(engine, "begin", on_begin)


def _identity(path: Path) -> _Identity | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return _Identity(status.st_dev, status.st_ino)


def _gone(path: Path) -> LedgerUnavailable:
    return LedgerUnavailable(
        f"the ledger's file {path} was removed or replaced: put it back; "
        "a worker that is started without it begins an empty one"
    )
