"""What tests of the producer have in common: emails, and what became of them in a queue."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from producers import Email
from producers.envelope import decode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.rabbitmq import RabbitServer

HELLO = Email("jane@example.org", "Hello", text="Hello Jane")


def emails(count: int, *, bad: int | None = None) -> Iterator[Email]:
    """So many emails, one of them with a comma in its recipients."""
    for number in range(count):
        to = "a@example.org,b@example.org" if number == bad else f"u{number}@example.org"
        yield Email(to, "Hello", text="x" * 200)


def ids(server: RabbitServer, queue: str) -> list[str]:
    """The ids of the jobs in a queue, which is empty afterwards."""
    return [decode(body, queue).id for body in server.messages(queue)]


def depth_when_still(server: RabbitServer, queue: str, at_least: int) -> int:
    """How many messages lie in a queue, once that many do (a minute at most) and no more are coming."""
    deadline = time.monotonic() + 60.0
    before, now = -1, 0
    while now != before or (now < at_least and time.monotonic() < deadline):
        time.sleep(0.3)
        before, now = now, server.queue_depth(queue)
    return now
