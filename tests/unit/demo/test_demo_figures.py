"""What the demo judges by: windows, shares, and a verdict that can fail."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.demo.figures import Expectation, judge, last_window, used_share, worst_window
from worker.demo.sink import Arrival

ACME = Expectation("acme", limit=2, mails=3, singles=1)


def arrival(at: float, message_id: str, *, batch: bool = True) -> Arrival:
    """One mail of acme's."""
    to = "customer1@mail.example" if batch else "reset1@mail.example"
    return Arrival(at, message_id, "robot@acme.example", to)


GOOD = [
    arrival(0.0, "<1>"),
    arrival(30.0, "<2>"),
    arrival(60.0, "<3>"),
    arrival(5.0, "<s>", batch=False),
]


@given(st.lists(st.floats(0, 300, allow_nan=False), max_size=60))
def test_the_worst_window_is_the_most_in_any_60_seconds(times: list[float]) -> None:
    """It equals a count by brute force over every window that begins at an acceptance."""
    brute = max((sum(t <= at < t + 60 for at in times) for t in times), default=0)
    assert worst_window(times) == brute


def test_a_window_is_open_at_its_end() -> None:
    """Mails exactly 60 s apart are in different windows."""
    assert worst_window([0.0, 60.0]) == 1
    assert last_window([0.0, 60.0], now=60.0) == 1


def test_used_share_counts_the_first_window_only() -> None:
    """Later mails do not make up for an idle first minute; before its end time counts."""
    assert used_share([0.0, 30.0, 61.0], 2) == 1.0
    assert used_share([0.0, 61.0], 2) == 0.5
    assert used_share([0.0, 1.0], 120, now=1.0) == 1.0
    assert used_share([], 2) == 0.0


def test_a_good_run_is_held() -> None:
    """Everything arrived once, within the limit."""
    assert judge([ACME], GOOD, frozenset(), used_at_least=0.95).held


@pytest.mark.parametrize(
    ("arrivals", "failure"),
    [
        ([*GOOD, arrival(31.0, "<4>")], "acme: 3 mails in 60 s, the limit is 2"),
        (GOOD[1:], "acme: 2 of 3 batch mails arrived"),
        (GOOD[:3], "acme: 0 of 1 single mails arrived"),
        (
            [*GOOD, arrival(99.0, "<1>")],
            "<1> arrived twice, and the ledger does not call it unknown",
        ),
    ],
)
def test_each_broken_promise_is_named(arrivals: list[Arrival], failure: str) -> None:
    """Over the limit, missing, or doubled: the verdict says which."""
    verdict = judge([ACME], arrivals, frozenset(), used_at_least=0.0)
    assert failure in verdict.failures
    assert not verdict.held


def test_a_double_that_was_unknown_is_no_failure() -> None:
    """What nobody could know may arrive twice."""
    verdict = judge([ACME], [*GOOD, arrival(99.0, "<1>")], frozenset({"<1>"}), used_at_least=0.95)
    assert verdict.held
    assert (verdict.doubled, verdict.unknown) == (1, 1)


def test_an_idle_limit_is_a_failure_too() -> None:
    """A limiter that sends too little is no good either."""
    slow = [arrival(0.0, "<1>"), arrival(70.0, "<2>"), arrival(140.0, "<3>"), GOOD[3]]
    assert judge([ACME], slow, frozenset(), used_at_least=0.95).failures == (
        "acme: only 50.0% of the limit was used",
    )
