"""The embedded inbox as the way in: a commit is the confirm."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .errors import BrokerUnavailable, ProducerClosed
from .inbox import Inbox

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SCHEME: Final = "embedded:"
_CHUNK: Final = 500
_CHUNK_BYTES: Final = 4 << 20
_CHUNK_SECONDS: Final = 0.1


def inbox_path(url: str = SCHEME, environ: Mapping[str, str] = os.environ) -> Path:
    """Where the inbox of an ``embedded:`` address is.

    ``embedded:/path/inbox.db`` names it; ``embedded:`` means ``inbox.db`` in the state directory,
    where a worker looks too: ``POSTMETER_STATE``, else for root ``/var/lib/postmeter``, else
    ``postmeter`` in ``XDG_STATE_HOME``.
    """
    named = url.removeprefix(SCHEME)
    if named:
        return Path(named)
    state = environ.get("POSTMETER_STATE")
    if state:
        return Path(state) / "inbox.db"
    if os.geteuid() == 0 and not environ.get("XDG_STATE_HOME"):
        return Path("/var/lib/postmeter/inbox.db")
    home = environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "postmeter" / "inbox.db"


class EmbeddedSender:
    """Puts messages into an inbox file on this machine; thread-safe and fork-safe."""

    def __init__(self, path: Path) -> None:
        self._inbox = Inbox(path)
        self._closed = False

    def send(self, queue: str, job_id: str, body: bytes) -> None:  # noqa: ARG002 the id is for RabbitMQ's properties
        """Store one message.

        Raises:
            BrokerUnavailable: the file cannot be written; nothing was stored.
            ProducerClosed: this was closed.
        """
        self.store(queue, [body])

    def store(self, queue: str, bodies: Sequence[bytes]) -> None:
        """Store messages, all or none, in order.

        Raises:
            BrokerUnavailable, ProducerClosed: as ``send``.
        """
        if self._closed:
            raise ProducerClosed("this producer is closed")
        try:
            self._inbox.put(queue, bodies)
        except (sqlite3.Error, OSError) as error:
            raise BrokerUnavailable(
                f"the inbox {self._inbox.path} cannot be written: {error}"
            ) from error

    def stream(self, queue: str) -> EmbeddedStream:
        """Begin to store many messages of one queue."""
        return EmbeddedStream(self, queue)

    def close(self) -> None:
        """Close the file; safe to call twice."""
        self._closed = True
        self._inbox.close()


class EmbeddedStream:
    """Messages stored some hundreds to a commit."""

    def __init__(self, sender: EmbeddedSender, queue: str) -> None:
        self._sender = sender
        self._queue = queue
        self._first = 0
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._stored_at = 0.0
        self._confirmed = 0

    @property
    def confirmed(self) -> int:
        """Exactly how many messages are stored so far."""
        return self._confirmed

    def first_unconfirmed(self) -> int | None:
        """The lowest index put in and not stored, or None."""
        return self._first if self._waiting else None

    def put(self, index: int, job_id: str, body: bytes) -> None:  # noqa: ARG002 the id is for RabbitMQ's properties
        """Store one more, with the next commit.

        Raises:
            BrokerUnavailable: the file cannot be written.
        """
        if not self._waiting:
            self._first = index
        self._waiting.append(body)
        self._waiting_bytes += len(body)
        full = len(self._waiting) >= _CHUNK or self._waiting_bytes >= _CHUNK_BYTES
        if full or time.monotonic() - self._stored_at > _CHUNK_SECONDS:
            self.finish()

    def finish(self) -> None:
        """Store what waits.

        Raises:
            BrokerUnavailable: the file cannot be written.
        """
        if self._waiting:
            self._sender.store(self._queue, self._waiting)
            self._confirmed += len(self._waiting)
            self._waiting, self._waiting_bytes = [], 0
            self._stored_at = time.monotonic()
