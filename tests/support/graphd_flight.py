"""How many requests are under way at once, per application and per mailbox.

Graph lets an application have 4 at once (learn.microsoft.com/graph/throttling-limits, Outlook).
"""

from __future__ import annotations

import select
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from socket import socket

    from tests.support.graphd_wire import Exchange


def gone(connection: socket, seconds: float = 0.0) -> bool:
    """Wait until the other end is closed; whether it is. What it sent before does not hide it."""
    if connection.fileno() < 0:
        return True
    watch = select.poll()
    watch.register(connection, select.POLLRDHUP)
    return bool(watch.poll(seconds * 1000))


@dataclass(slots=True)
class Flight:
    """The requests under way, and the most that there were.

    Attributes:
        applications: the most at once, by application.
        mailboxes: the most at once, by mailbox.
    """

    applications: Counter[str] = field(default_factory=Counter)
    mailboxes: Counter[str] = field(default_factory=Counter)
    _under_way: set[Exchange] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, exchange: Exchange) -> tuple[int, int]:
        """Count a request; return how many there are now of its application and of its mailbox.

        One whose client has gone, as one does that was killed, does not count: whoever follows it
        cannot know of it.
        """
        application, mailbox = exchange.application, exchange.request.mailbox
        with self._lock:
            self._under_way = {one for one in self._under_way if not gone(one.socket)} | {exchange}
            of_application = sum(one.application == application for one in self._under_way)
            of_mailbox = sum(one.request.mailbox == mailbox for one in self._under_way)
            self.applications[application] = max(self.applications[application], of_application)
            self.mailboxes[mailbox] = max(self.mailboxes[mailbox], of_mailbox)
        return of_application, of_mailbox

    def end(self, exchange: Exchange) -> bool:
        """Count it no more; whether it was counted.

        It has to be called before the reply can be read, since another request may follow at once.
        """
        with self._lock:
            counted = exchange in self._under_way
            self._under_way.discard(exchange)
        return counted

    def forget(self) -> None:
        """Begin anew to look for the most at once."""
        with self._lock:
            self.applications.clear()
            self.mailboxes.clear()
