"""A session on the embedded inbox: the same contract as RabbitMQ's, on one machine's file."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections import deque
from typing import TYPE_CHECKING

from worker.broker.consumer import Delivery, Session
from worker.errors import BrokerUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from producers.inbox import Inbox

#: While messages are in flight, how long finished ones may wait to be deleted when idle.
ACK_DELAY_SECONDS = 0.05


@contextlib.contextmanager
def _as_unavailable() -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise BrokerUnavailable(f"the inbox: {error}") from error


class InboxSession(Session):
    """Takes up to ``prefetch`` messages of one queue; deletes finished ones in one transaction.

    Args:
        consumer_id: the same in each session of a consumer, so that the next one can put back
            what this one could not: a disk that is full refuses that too.
    """

    def __init__(self, inbox: Inbox, queue: str, *, prefetch: int, consumer_id: str) -> None:
        """Open the inbox.

        Raises:
            BrokerUnavailable: its file cannot be used now.
        """
        super().__init__()
        self._inbox = inbox
        self._queue = queue
        self._prefetch = prefetch
        self._consumer_id = consumer_id
        self._deliveries: deque[Delivery] = deque()
        self._acks: deque[int] = deque()
        self._in_hand = 0
        self._moved = threading.Event()
        self._open = True
        self._taking = True
        with _as_unavailable():
            self._file_number = inbox.look()
            inbox.release_all(consumer_id)
            self._wake_up = inbox.wake_up()

    @property
    def is_open(self) -> bool:
        """Whether what was taken is still this consumer's."""
        return self._open

    def next(self, timeout_seconds: float) -> Delivery | None:
        """The next delivery, or None after the time-out or a wake.

        Raises:
            BrokerUnavailable: the file cannot be used now (disk full, read-only, locked), or was
                removed or replaced.
        """
        if not self._deliveries:
            with _as_unavailable():
                self._moved.clear()
                self._flush()
                self._refill(timeout_seconds)
        return self._deliveries.popleft() if self._deliveries else None

    def ack(self, tag: int) -> None:
        """Delete with the next group; dropped when the session is over."""
        if self._open:
            self._acks.append(tag)
            self._moved.set()

    def wake(self) -> None:
        """Let a blocked ``next`` return."""
        self._moved.set()
        with contextlib.suppress(OSError):
            self._wake_up.wake()

    def stop_taking(self) -> None:
        """Take nothing new; finished messages are still deleted."""
        self._taking = False

    def close(self) -> None:
        """Delete what is finished and put everything else back in its place."""
        with contextlib.suppress(sqlite3.Error, OSError):
            if self._open:
                self._flush()
        self._open = False
        with contextlib.suppress(sqlite3.Error, OSError):
            self._inbox.release_all(self._consumer_id)
        self._wake_up.close()

    def _flush(self) -> None:
        tags = [self._acks.popleft() for _ in range(len(self._acks))]
        if not tags:
            return
        try:
            self._inbox.ack(tags, self._file_number)
        except BaseException:
            self._acks.extendleft(reversed(tags))
            raise
        self._in_hand -= len(tags)

    def _refill(self, timeout_seconds: float) -> None:
        """Take as many as there is room for, or wait for room, or for a message."""
        room = self._prefetch - self._in_hand
        if not self._taking or room <= 0:
            self._moved.wait(timeout_seconds)
            return
        taken = self._inbox.take(self._queue, room, self._consumer_id, self._file_number)
        if not taken:
            self._wake_up.wait(timeout_seconds if not self._in_hand else ACK_DELAY_SECONDS)
            return
        self._in_hand += len(taken)
        self._deliveries.extend(
            Delivery(tag=one.id, body=one.body, redelivered=one.redelivered) for one in taken
        )
