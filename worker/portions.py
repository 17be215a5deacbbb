"""Portions: how many jobs of a line are taken at once; pure.

A transaction costs more than all that it takes, so at a high limit jobs are taken together. But
those taken together leave in a row, so where lines share a limit a portion is short.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from worker.pace import Limit

MOST = 16
TURN_SECONDS = 0.1
"""How long one turn may last where lines share a limit."""


class Portions:
    """Knows which limits several lines come under."""

    def __init__(self) -> None:
        self._sharers: Counter[str] = Counter()

    def enter(self, limits: Iterable[Limit]) -> None:
        """Note a line that takes part."""
        self._sharers.update(limit.scope for limit in limits)

    def leave(self, limits: Iterable[Limit]) -> None:
        """Note that it does so no more."""
        self._sharers.subtract(limit.scope for limit in limits)

    def most(self, limits: Sequence[Limit], lines: int) -> int:
        """How many jobs a line under these limits may take in its turn, at least one.

        What no limit paces goes one by one: a hold that the first runs into keeps the others.

        Args:
            lines: how many lines take turns.
        """
        if not any(limit.gap_seconds for limit in limits):
            return 1
        shared = [limit.gap_seconds for limit in limits if self._sharers[limit.scope] > 1]
        gap_seconds = max(shared, default=0.0)
        most = int(TURN_SECONDS / gap_seconds) if gap_seconds else MOST // max(lines, 1)
        return max(1, min(most, MOST))
