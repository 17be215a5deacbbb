"""How many emails a window of time holds, now and at the worst; pure."""

from __future__ import annotations

from collections import deque


class SlidingWindow:
    """Counts stamps in any window [t, t + length), exactly.

    Args:
        length_seconds: of the window.

    Attributes:
        worst: the most stamps that any window so far held.
    """

    def __init__(self, length_seconds: float) -> None:
        self._length_seconds = length_seconds
        self._stamps: deque[float] = deque()
        self.worst = 0

    def add(self, stamp: float) -> None:
        """Count one more; stamps come in their order (seconds on a clock that never steps)."""
        self._stamps.append(stamp)
        self.worst = max(self.worst, self.count(stamp))

    def count(self, now: float) -> int:
        """How many stamps the window that ends at ``now`` holds."""
        while self._stamps and now - self._stamps[0] >= self._length_seconds:
            self._stamps.popleft()
        return len(self._stamps)
