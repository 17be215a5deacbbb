"""Faults of ours that concern one waiting line: it rests, the others go on, and each is told once."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.ledger.lanes import Lane

REST_SECONDS = 60.0
"""How soon a line that met a fault is tried again, if the settings do not change before."""
FORGET_SECONDS = 600.0
"""A fault that was not met for so long is told again."""


class Log(Protocol):
    """Where faults are told."""

    def error(self, event: str, **fields: object) -> object:
        """Write one line."""


def in_words(fault: Exception) -> str:
    """What is written on the jobs that wait for it; its message could hold anything."""
    return f"a fault in Postmeter: {type(fault).__name__}"


class Faults:
    """Keeps which lines rest, and which faults were told; from any thread."""

    def __init__(self, log: Log, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._lock = threading.Lock()
        self._rests: dict[Lane, float] = {}
        self._told: dict[tuple[str, str], float] = {}

    def tell(self, lane: Lane, fault: Exception) -> None:
        """Log a fault with its traceback, once for a company as long as it goes on."""
        now = self._clock()
        same = lane.company, _origin(fault)
        with self._lock:
            self._told = {key: at for key, at in self._told.items() if at > now - FORGET_SECONDS}
            is_new = same not in self._told
            self._told[same] = now
        if is_new:
            self._log.error("a fault in Postmeter", **lane._asdict(), exc_info=fault)

    def let_rest(self, lane: Lane, fault: Exception) -> None:
        """Tell of a fault, and leave the line alone for a while."""
        self.tell(lane, fault)
        now = self._clock()
        with self._lock:
            self._rests = {each: until for each, until in self._rests.items() if until > now}
            self._rests[lane] = now + REST_SECONDS

    def rests(self, lane: Lane) -> bool:
        """Whether a line is to be left alone now."""
        with self._lock:
            return self._rests.get(lane, 0.0) > self._clock()

    def try_again(self) -> None:
        """End every rest: the settings are others now."""
        with self._lock:
            self._rests.clear()


def _origin(fault: Exception) -> str:
    """Name a fault by its kind and the line of code that it comes from."""
    place, trace = "", fault.__traceback__
    while trace is not None:
        place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
        trace = trace.tb_next
    return f"{type(fault).__name__} {place}"
