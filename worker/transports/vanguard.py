"""One connection goes ahead of the others that want the same, until it stands.

Without it, a password that has changed would be refused as often as mails are in hand, and servers
lock accounts after a few refusals; a server that is down would be asked as often.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from worker.errors import Held

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.transports.connection import Key

HEEDED_SECONDS = 1.0
"""How long a failure speaks for all that want the same: until every reader of the ledger has seen
its hold, and well before the hold's first probe."""


class Vanguard:
    """Who tries first, what came of it, and how many connections stand; by key.

    Args:
        clock: seconds that only go forward.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._ahead: set[Key] = set()
        self._standing: Counter[Key] = Counter()
        self._failures: dict[Key, tuple[Held, float]] = {}

    def is_out(self, key: Key) -> bool:
        """Whether the first connection is on its way: all others wait for it."""
        return key in self._ahead

    def heed(self, key: Key) -> None:
        """Pass on what the first connection has just met.

        Raises:
            Held: the same again, with how much longer it is passed on.
        """
        held, until = self._failures.get(key, (None, 0.0))
        if held is None:
            return
        left_seconds = until - self._clock()
        if left_seconds <= 0:
            del self._failures[key]
            return
        raise Held(
            held.reason,
            target=held.target,
            reply=held.reply,
            retry_after_seconds=held.retry_after_seconds,
            passed_on_seconds=left_seconds,
        )

    def go(self, key: Key) -> bool:
        """Note a connection on its way; whether it is the first one."""
        first = not self._standing[key]
        if first:
            self._ahead.add(key)
        return first

    def back(self, key: Key) -> None:
        """The first connection stands or has failed: nobody waits for it any more."""
        self._ahead.discard(key)

    def failed(self, key: Key, held: Held) -> None:
        """Let a failure speak for all, unless another connection stands."""
        if not self._standing[key]:
            self._failures[key] = held, self._clock() + HEEDED_SECONDS

    def stands(self, key: Key) -> None:
        """Count a connection that can take mails."""
        self._standing[key] += 1

    def lost(self, key: Key) -> None:
        """Count one less."""
        self._standing[key] -= 1
        if not self._standing[key]:
            del self._standing[key]
