"""How many emails a window of time holds, now and at the worst; pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort_right

LATE_SECONDS = 15.0
"""How much later than its time a stamp may come to be known: stamps are given before commits."""
_FEW = 1024


class SlidingWindow:
    """Counts stamps in any window [t, t + length), exactly.

    Args:
        length_seconds: of the window.

    Attributes:
        worst: the most stamps that any window so far held.
    """

    def __init__(self, length_seconds: float) -> None:
        self._length_seconds = length_seconds
        self._kept_seconds = 2 * length_seconds + LATE_SECONDS
        self._stamps: list[float] = []
        self._first = 0
        self.worst = 0

    def add(self, stamp: float) -> None:
        """Count one more (seconds on a clock that never steps).

        Stamps may come out of their order by ``LATE_SECONDS``.
        """
        stamps = self._stamps
        if stamps and stamp < stamps[-1]:
            self._add_late(stamp)
            return
        stamps.append(stamp)
        while stamp - stamps[self._first] >= self._length_seconds:
            self._first += 1
        self.worst = max(self.worst, len(stamps) - self._first)
        if self._first > _FEW and self._first > len(stamps) / 2:
            gone = bisect_left(stamps, stamp - self._kept_seconds)
            del stamps[:gone]
            self._first -= gone

    def _add_late(self, stamp: float) -> None:
        """Put it in its place, and look at every window again that it is in."""
        stamps = self._stamps
        place = bisect_right(stamps, stamp)
        insort_right(stamps, stamp)
        if place < self._first or stamps[-1] - stamp >= self._length_seconds:
            self._first += 1
        first = 0
        for last in range(place, len(stamps)):
            if stamps[last] - stamp >= self._length_seconds:
                break
            while stamps[last] - stamps[first] >= self._length_seconds:
                first += 1
            self.worst = max(self.worst, last - first + 1)

    def count(self, now: float) -> int:
        """How many stamps the window that ends at ``now`` holds."""
        return len(self._stamps) - bisect_right(self._stamps, now - self._length_seconds)
