"""The back-off: its range, its spread, its end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.retry import back_off_seconds, granted, next_delay_seconds

ATTEMPTS = st.integers(1, 10_000)
RANDOM = st.floats(0, 1, exclude_max=True)


def test_doubles_from_thirty_seconds_to_an_hour() -> None:
    """Without jitter: 30 s, 60 s, … and never beyond 40 minutes, to which jitter adds at most 20."""
    delays = [back_off_seconds(attempts, random=0) for attempts in range(1, 10)]
    assert delays == [30, 60, 120, 240, 480, 960, 1920, 2400, 2400]


@given(ATTEMPTS, RANDOM)
def test_stays_between_half_a_minute_and_an_hour(attempts: int, random: float) -> None:
    """Whatever the attempt and the random number."""
    assert 30 <= back_off_seconds(attempts, random=random) <= 3600


@given(ATTEMPTS)
def test_jitter_spreads(attempts: int) -> None:
    """The largest random number adds nearly half of what the smallest gives."""
    least = back_off_seconds(attempts, random=0.0)
    assert back_off_seconds(attempts, random=0.999) == pytest.approx(1.4995 * least)


def test_servers_wish_is_a_lower_bound() -> None:
    """It lengthens a delay, never shortens it, and counts up to an hour."""
    assert back_off_seconds(1, random=0, retry_after_seconds=300) == 300
    assert back_off_seconds(5, random=0, retry_after_seconds=1) == 480
    assert back_off_seconds(1, random=0, retry_after_seconds=1e9) == 3600


@given(st.floats())
def test_a_wish_is_granted_between_a_second_and_an_hour(wish: float) -> None:
    """Whatever a server asks for, NaN and infinity included; what is changed is said."""
    seconds, note = granted(wish)
    assert 1 <= seconds <= 3600
    assert (note == "") is (seconds == wish)


@given(ATTEMPTS, RANDOM, st.floats())
def test_no_wish_breaks_the_back_off(attempts: int, random: float, wish: float) -> None:
    """An absurd wish neither shortens the back-off nor takes it beyond an hour."""
    least = back_off_seconds(attempts, random=random)
    assert least <= back_off_seconds(attempts, random=random, retry_after_seconds=wish) <= 3600


@given(ATTEMPTS, RANDOM, st.floats(0, 400_000), st.floats(1, 400_000))
def test_last_attempt_is_when_the_time_ends(
    attempts: int, random: float, spent: float, retry_for: float
) -> None:
    """The delays never pass retry_for, and None comes exactly when it is used up."""
    delay = next_delay_seconds(
        attempts, spent_seconds=spent, retry_for_seconds=retry_for, random=random
    )
    if spent >= retry_for:
        assert delay is None
    else:
        assert delay is not None
        assert 0 < delay <= min(3600, retry_for - spent)


@pytest.mark.parametrize(("attempts", "random"), [(0, 0.5), (1, 1.0), (1, -0.1)])
def test_impossible_arguments_are_refused(attempts: int, random: float) -> None:
    """No attempt yet, or a number that is none in [0, 1)."""
    with pytest.raises(ValueError, match="must"):
        back_off_seconds(attempts, random=random)
