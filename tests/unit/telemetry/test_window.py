"""The sliding window counts exactly what a window may hold."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from worker.telemetry.window import SlidingWindow


def brute_force(stamps: list[float], length: float) -> int:
    """The worst window, by trying every stamp as its start."""
    return max((sum(t <= s < t + length for s in stamps) for t in stamps), default=0)


@given(st.lists(st.integers(0, 300), max_size=60).map(sorted))
def test_worst_is_that_of_every_window(stamps: list[int]) -> None:
    """The worst window equals the one found by trying each start (on whole and equal stamps)."""
    window = SlidingWindow(60.0)
    for stamp in stamps:
        window.add(float(stamp))
    assert window.worst == brute_force([float(s) for s in stamps], 60.0)


@given(st.lists(st.integers(0, 300), max_size=60).map(sorted), st.data())
def test_stamps_that_come_late_count_as_if_in_order(stamps: list[int], data: st.DataObject) -> None:
    """Commits of several processes come up to 15 s out of the order of their stamps."""
    late = data.draw(st.lists(st.integers(0, 15), min_size=len(stamps), max_size=len(stamps)))
    known = sorted(zip(stamps, late, strict=True), key=lambda each: each[0] + each[1])
    window = SlidingWindow(60.0)
    for stamp, _ in known:
        window.add(float(stamp))
    assert window.worst == brute_force([float(s) for s in stamps], 60.0)
    now = max(stamps, default=0)
    assert window.count(float(now)) == sum(now - 60 < stamp for stamp in stamps)


def test_a_window_forgets_what_no_window_holds_any_more() -> None:
    """A day at full speed costs no more memory than some minutes of it."""
    window = SlidingWindow(60.0)
    for number in range(100_000):
        window.add(number * 0.0625)
    assert window.worst == 960
    assert len(window._stamps) < 10_000


def test_window_is_half_open() -> None:
    """A stamp leaves the window exactly its length later: N slots may be used again then."""
    window = SlidingWindow(60.0)
    window.add(100.0)
    assert window.count(159.999) == 1
    assert window.count(160.0) == 0


def test_worst_stays_when_the_window_has_emptied() -> None:
    """What was once too much is not forgotten."""
    window = SlidingWindow(1.0)
    for stamp in (10.0, 10.1, 10.2, 20.0):
        window.add(stamp)
    assert (window.count(30.0), window.worst) == (0, 3)
