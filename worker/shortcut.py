"""Which messages may stay unacknowledged until their mail has been delivered.

What is delivered in the call that took it in keeps its message, and with it one of the few that a
queue hands out at once. Servers that hang would soon keep them all, and the queue would hand out
nothing for the servers that do not. What finds no place here waits in the ledger instead.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from config.effective import EffectiveSettings

PREFETCH = {"send": 64, "batch": 64, "dead": 16}
"""How many messages a queue hands out at once; not bytes: with jobs of 12 MiB more would be
gigabytes, and more is no faster."""
ALL_SHARE, SERVER_SHARE = 0.75, 0.5
"""Of what a queue hands out: how much may be in delivery, in all and to one server."""


class Shortcut:
    """Counts what is being delivered straight from each queue; for the event loop alone.

    Args:
        prefetch: how many messages each queue hands out at once.
    """

    def __init__(self, prefetch: Mapping[str, int] = PREFETCH) -> None:
        self._prefetch = prefetch
        self._all: Counter[str] = Counter()
        self._to: Counter[tuple[str, str]] = Counter()

    def try_enter(self, settings: EffectiveSettings) -> bool:
        """Let one message stay until its mail is delivered; False where it must be recorded."""
        queue = _queue(settings)
        prefetch = self._prefetch[queue]
        if self._all[queue] >= int(prefetch * ALL_SHARE):
            return False
        if self._to[queue, settings.server] >= int(prefetch * SERVER_SHARE):
            return False
        self._all[queue] += 1
        self._to[queue, settings.server] += 1
        return True

    def leave(self, settings: EffectiveSettings) -> None:
        """Say that the delivery has ended, however it did."""
        queue = _queue(settings)
        self._all[queue] -= 1
        self._to[queue, settings.server] -= 1
        if not self._to[queue, settings.server]:
            del self._to[queue, settings.server]


def _queue(settings: EffectiveSettings) -> str:
    """The queue of a kind: compositions come with the single sends."""
    return "batch" if settings.kind == "batch" else "send"
