"""Which ``basic.ack`` to send for a group of finished deliveries."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class AckPlan:
    """Joins acknowledgements of one channel, whose delivery tags count up from 1.

    Every ``basic.ack`` costs a system call, and jobs mostly finish in the order they came. So one
    ack with *multiple* covers everything up to the last tag before the first unfinished one; what
    finished out of order is acknowledged by itself, so that nothing waits for a slow neighbour.
    """

    def __init__(self) -> None:
        self._floor = 0
        self._ahead: set[int] = set()

    def acknowledge(self, tags: Iterable[int]) -> list[tuple[int, bool]]:
        """The ``(tag, multiple)`` to send, given the tags that finished since the last call.

        The tag of a *multiple* is always one that was not acknowledged before: RabbitMQ closes the
        channel over an unknown tag.
        """
        fresh = sorted(set(tags) - self._ahead)
        fresh = [tag for tag in fresh if tag > self._floor]
        self._ahead.update(fresh)
        while self._floor + 1 in self._ahead:
            self._floor += 1
            self._ahead.discard(self._floor)
        below = [tag for tag in fresh if tag <= self._floor]
        alone = [(tag, False) for tag in fresh if tag > self._floor]
        return ([(below[-1], len(below) > 1)] if below else []) + alone
