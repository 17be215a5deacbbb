"""The switch that says whether anything may be taken in: open, suspended or draining."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Intake:
    """Whether consumers take messages; shared by threads and the event loop.

    *Suspended* (the ledger is away): consumers give back what they hold and take nothing until
    ``resume``, so the backlog stays where it is safe. *Draining* (the process ends): nothing new is
    taken, for good, but what is in flight can still be acknowledged.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._reason: str | None = None
        self._draining = False
        self._watchers: list[Callable[[], None]] = []

    @property
    def suspended(self) -> str | None:
        """Why nothing is taken in for now, or None."""
        return self._reason

    @property
    def draining(self) -> bool:
        """Whether this process takes nothing any more."""
        return self._draining

    @property
    def open(self) -> bool:
        """Whether messages are taken."""
        return self._reason is None and not self._draining

    def suspend(self, reason: str) -> None:
        """Take nothing and give back what is held, until ``resume``; safe to call twice."""
        with self._changed:
            self._reason = reason
        self._announce()

    def resume(self) -> None:
        """Take messages again; safe to call when nothing was suspended."""
        with self._changed:
            self._reason = None
        self._announce()

    def drain(self) -> None:
        """Take nothing any more; there is no way back."""
        with self._changed:
            self._draining = True
        self._announce()

    def wait(self, timeout_seconds: float) -> None:
        """Block until the switch is moved, at most ``timeout_seconds``."""
        with self._changed:
            self._changed.wait(timeout_seconds)

    def watch(self, watcher: Callable[[], None]) -> None:
        """Call ``watcher``, from any thread, whenever the switch is moved."""
        self._watchers.append(watcher)

    def unwatch(self, watcher: Callable[[], None]) -> None:
        """Forget a watcher; safe to call twice."""
        if watcher in self._watchers:
            self._watchers.remove(watcher)

    def _announce(self) -> None:
        with self._changed:
            self._changed.notify_all()
        for watcher in tuple(self._watchers):
            watcher()
