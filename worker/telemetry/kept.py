"""Keeps an answer for a while, the longer the more it has cost; so asking often stays cheap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

KEPT_SECONDS: Final = 1.0
"""How long an answer is good for several who ask."""
COST_SHARE: Final = 20
"""A slow answer is kept for so many times as long as it took."""


class Kept(Generic[T]):
    """One answer.

    Args:
        clock: seconds on a clock that never steps.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until_seconds = 0.0
        self._answer: T | None = None

    def ask(self, make: Callable[[], T]) -> T:
        """The answer that is kept, or a new one; where making it fails, none is kept."""
        started = self._clock()
        if self._answer is not None and started < self._until_seconds:
            return self._answer
        self._answer = None
        self._answer = make()
        ended = self._clock()
        self._until_seconds = max(started + KEPT_SECONDS, ended + COST_SHARE * (ended - started))
        return self._answer
