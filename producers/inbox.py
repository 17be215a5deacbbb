"""The embedded inbox: RabbitMQ's contract for one machine, in one SQLite file.

A commit is the confirm, a delete the ack. What a consumer took and did not ack goes back to its
place in the line, marked as redelivered, when the consumer gives it back or its process is gone.

SQLite goes on using a file that was deleted or moved away, and says nothing. So a put looks first
whether the file is still in its place, and a take does so every second: another file in its place
is used instead, and where there is none, who has used one makes no new one.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .errors import InboxUnusable
from .forks import forget_on_fork
from .processes import is_alive, started
from .wakeup import WakeUp, notify

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

VERSION: Final = 1
BUSY_SECONDS: Final = 10.0
#: How often ``take`` looks for consumers whose process is gone.
REAP_SECONDS: Final = 1.0
_FREE_PAGES: Final = 1000
_NOWHERE: Final = (0, 0)
_SCHEMA: Final = """
CREATE TABLE message (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    queue TEXT NOT NULL,
    body BLOB NOT NULL,
    taken_by TEXT,
    redelivered INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX message_ready ON message (queue, id) WHERE taken_by IS NULL;
CREATE INDEX message_taken ON message (taken_by) WHERE taken_by IS NOT NULL;
CREATE TABLE consumer (id TEXT PRIMARY KEY, pid INTEGER NOT NULL, started TEXT NOT NULL);
"""


class InboxGone(OSError):
    """The file that was in use is not in its place any more."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A message that a consumer has in hand."""

    id: int
    body: bytes
    redelivered: bool


class Inbox:
    """One inbox file, for any number of threads and processes; safe across a fork.

    Every method may raise ``sqlite3.Error`` (disk full, read-only, locked for ten seconds) and
    ``InboxGone``.

    Attributes:
        file_number: counts the files that were in its place. The ids of one mean nothing, or other
            messages, in the next: ``take`` and ``ack`` raise InboxGone where another is meant.

    Raises:
        InboxUnusable: a newer version made it.
        OSError: its folder cannot be made.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._wake_folder = self.path.with_name(self.path.name + ".wake")
        self._open: sqlite3.Connection | None = None
        self._reap_at = 0.0
        self._identity: tuple[int, int] | None = None
        self.file_number = 0
        self.forget()
        forget_on_fork(self)

    def put(self, queue: str, bodies: Iterable[bytes]) -> int:
        """Store messages durably, all or none; returns how many."""
        self.look()
        with self._transaction(durable=True) as connection:
            cursor = connection.executemany(
                "INSERT INTO message (queue, body) VALUES (?, ?)",
                ((queue, body) for body in bodies),
            )
        notify(self._wake_folder)
        return cursor.rowcount

    def look(self) -> int:
        """Use the file that is in its place now, opening it where it is another; its number."""
        with self._lock:
            if self._open is not None and (found := _identity(self.path)) != self._identity:
                self.close()  # at once: the next file's log would share its index with this one's
                if found is None:
                    self._identity = _NOWHERE
            self._connection()
            return self.file_number

    def take(
        self, queue: str, n: int, consumer_id: str, file_number: int | None = None
    ) -> list[Taken]:
        """Up to ``n`` messages from the head of a queue, for this consumer alone."""
        if time.monotonic() >= self._reap_at:
            self._reap_at = time.monotonic() + REAP_SECONDS
            self.look()
            self.release_gone()
            self._shrink()
        ready = "SELECT 1 FROM message WHERE queue = ? AND taken_by IS NULL LIMIT 1"
        if n < 1 or not self._read(ready, (queue,), file_number):
            return []  # looking costs no lock: idle consumers do not hinder writers
        me = os.getpid()
        with self._transaction(file_number) as connection:
            connection.execute(
                "INSERT INTO consumer (id, pid, started) VALUES (?, ?, ?) ON CONFLICT (id)"
                " DO UPDATE SET pid = excluded.pid, started = excluded.started"
                " WHERE pid <> excluded.pid OR started <> excluded.started",
                (consumer_id, me, started(me)),
            )
            rows = connection.execute(
                "UPDATE message SET taken_by = ? WHERE id IN (SELECT id FROM message"
                " WHERE queue = ? AND taken_by IS NULL ORDER BY id LIMIT ?)"
                " RETURNING id, body, redelivered",
                (consumer_id, queue, n),
            ).fetchall()
        return sorted((Taken(i, b, bool(r)) for i, b, r in rows), key=lambda taken: taken.id)

    def ack(self, ids: Sequence[int], file_number: int | None = None) -> None:
        """Delete messages that are done; unknown ids are no matter."""
        with self._transaction(file_number) as connection:
            connection.executemany("DELETE FROM message WHERE id = ?", ((i,) for i in ids))

    def release(self, ids: Sequence[int]) -> None:
        """Put taken messages back where they were, marked as redelivered."""
        with self._transaction() as connection:
            connection.executemany(
                "UPDATE message SET taken_by = NULL, redelivered = 1 WHERE id = ?",
                ((i,) for i in ids),
            )
        notify(self._wake_folder)

    def release_all(self, consumer_id: str) -> int:
        """Put back everything that a consumer has in hand, and forget the consumer."""
        me = os.getpid()
        with self._transaction() as connection:
            count = _release(connection, consumer_id, me, started(me))
        notify(self._wake_folder)
        return count

    def release_gone(self) -> int:
        """Put back what the consumers of dead processes had in hand."""
        rows = self._read("SELECT id, pid, started FROM consumer", ())
        gone = [row for row in rows if not is_alive(row[1], row[2])]
        if not gone:
            return 0
        with self._transaction() as connection:
            count = sum(_release(connection, *row) for row in gone)
        notify(self._wake_folder)
        return count

    def dead_letter(self, ids: Sequence[int], dead_queue: str) -> None:
        """Move taken messages to another queue, as RabbitMQ does with what is rejected."""
        with self._transaction(durable=True) as connection:
            connection.executemany(
                "UPDATE message SET queue = ?, taken_by = NULL, redelivered = 0 WHERE id = ?",
                ((dead_queue, i) for i in ids),
            )
        notify(self._wake_folder)

    def depth(self, queue: str, *, taken: bool = False) -> int:
        """How many messages lie ready in a queue, or are in a consumer's hand."""
        rows = self._read(
            "SELECT count(*) FROM message WHERE queue = ? AND (taken_by IS NOT NULL) = ?",
            (queue, taken),
        )
        return int(rows[0][0])

    def dead(self, dead_queue: str) -> list[Taken]:
        """What lies in a queue of dead letters, without taking it."""
        rows = self._read(
            "SELECT id, body, redelivered FROM message WHERE queue = ? ORDER BY id", (dead_queue,)
        )
        return [Taken(i, body, bool(redelivered)) for i, body, redelivered in rows]

    def wake_up(self) -> WakeUp:
        """Something to wait on until a message is put by any process; close it afterwards."""
        self._connection()
        self._wake_folder.mkdir(mode=0o700, exist_ok=True)  # it may have been moved away too
        return WakeUp(self._wake_folder)

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            if self._open is not None:
                self._open.close()
                self._open = None

    def forget(self) -> object:
        """Start without a connection; SQLite's must not be used on both sides of a fork."""
        inherited, self._open = self._open, None
        self._lock = threading.RLock()
        self._reap_at = 0.0
        return inherited

    def _connection(self, file_number: int | None = None) -> sqlite3.Connection:
        with self._lock:
            if self._open is None:
                if self._identity is not None and _identity(self.path) is None:
                    raise _gone(self.path)
                self._open = _connect(self.path)
                self._wake_folder.mkdir(mode=0o700, exist_ok=True)
                found = _identity(self.path)
                self.file_number += found != self._identity
                self._identity = found
            if file_number not in {None, self.file_number}:
                raise _gone(self.path)
            return self._open

    @contextlib.contextmanager
    def _transaction(
        self, file_number: int | None = None, *, durable: bool = False
    ) -> Iterator[sqlite3.Connection]:
        """One write transaction. Only what must survive a power cut waits for the disk."""
        with self._lock:
            connection = self._connection(file_number)
            connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def _shrink(self) -> None:
        """Give the disk back, a little at a time, what a large backlog has used."""
        if self._read("PRAGMA freelist_count", ())[0][0] > _FREE_PAGES:
            with self._lock:  # executescript: execute would stop after the first page
                self._connection().executescript(f"PRAGMA incremental_vacuum({_FREE_PAGES})")

    def _read(
        self, query: str, parameters: tuple[object, ...], file_number: int | None = None
    ) -> list[tuple[Any, ...]]:
        with self._lock:  # not in the middle of another thread's transaction
            return self._connection(file_number).execute(query, parameters).fetchall()


def _release(connection: sqlite3.Connection, consumer_id: str, pid: int, since: str) -> int:
    """Forget a consumer if it still is that process's, and put back what it had in hand."""
    forgotten = connection.execute(
        "DELETE FROM consumer WHERE id = ? AND pid = ? AND started = ?", (consumer_id, pid, since)
    )
    if forgotten.rowcount == 0:
        return 0
    return connection.execute(
        "UPDATE message SET taken_by = NULL, redelivered = 1 WHERE taken_by = ?", (consumer_id,)
    ).rowcount


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file is in this place, by device and inode."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _gone(path: Path) -> InboxGone:
    return InboxGone(
        f"{path} was removed or replaced: put it back; whoever is started without it makes an"
        " empty one"
    )


def _connect(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        # Mail lies in it. Only when it is new: closing a descriptor drops SQLite's own locks.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    connection = sqlite3.connect(
        path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        _prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    _use_wal(connection)
    connection.execute(f"PRAGMA journal_size_limit = {64 << 20}")
    connection.execute("BEGIN IMMEDIATE")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise InboxUnusable(f"{path} was made by a newer version of Postmeter; upgrade this one")
    if version == 0:
        for statement in _SCHEMA.split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")


def _use_wal(connection: sqlite3.Connection) -> None:
    """Change to WAL; SQLite does not wait for its lock here, so this does."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return
