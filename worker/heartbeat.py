"""When this worker last renewed its lease, on a clock that goes on while the process stands still."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SURE_SECONDS = 25.0
"""How long after a heartbeat a mail's last byte may leave. Found dead 10 s after it, the worker's
slots are free 90 s later: whoever stood still for longer may not end a mail that another sends."""


def boottime() -> float:
    """Seconds on this host's clock, which runs on while a process, or the host, stands still."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Heartbeat:
    """The lease as this process knows it; thread-safe.

    Args:
        clock: seconds that no stop stops.
    """

    def __init__(self, clock: Callable[[], float] = boottime) -> None:
        self._clock = clock
        self._asked_at = clock()

    def now(self) -> float:
        """When a renewal is asked for: it counts from then, not from its answer."""
        return self._clock()

    def renewed(self, asked_at: float) -> None:
        """Note that a renewal which was asked for then has committed."""
        self._asked_at = asked_at

    def is_sure(self) -> bool:
        """Whether nobody can have given away yet what this worker holds."""
        return self._clock() - self._asked_at < SURE_SECONDS
