"""Which of several limits binds, and which is the tightest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.limits import LIMITS, limited
from worker.binding import Binding, Use, binding, tightest
from worker.pace import Limit, limits_of

MINUTE = Limit("company:acme", 30, layer="company", file="c.toml", key="smtp.batch_emails_per_min")
CEILING = Limit("all", 600, layer="system", file="system.toml", key="limits.all")
DAY = Limit("company:acme:day", 5000, window_seconds=86_400, even=False, per="day")

limit_sets = st.fixed_dictionaries(
    {}, optional={name: st.integers(1, 100_000) for name in LIMITS}
).map(lambda numbers: limits_of(limited(**numbers)))


def test_the_one_that_mail_waits_for_longest_binds() -> None:
    """A ceiling that is used up binds although the company's own number is smaller."""
    found = binding([CEILING, MINUTE], {"all": Use(600, 4.0), "company:acme": Use(12, 1.9)})
    assert found == Binding(CEILING, Use(600, 4.0))
    assert found.waits
    assert found.left == 0
    assert str(found) == "all allows 600 a minute (system.toml [limits] all)"


def test_where_nothing_waits_the_tightest_is_named() -> None:
    """It binds nothing now, but decides the pace."""
    found = binding([CEILING, MINUTE], {"all": Use(5, 0.0)})
    assert found == Binding(MINUTE)
    assert not found.waits
    assert found.left == 30


def test_a_day_is_told_against_a_minute() -> None:
    """5,000 a day are 3.5 a minute: tighter than 30 a minute; 50,000 a day are not."""
    assert tightest([MINUTE, DAY]) is DAY
    more = Limit("company:acme:day", 50_000, window_seconds=86_400, even=False, per="day")
    assert tightest([MINUTE, more]) is MINUTE


def test_of_equals_the_shorter_window_is_felt_first() -> None:
    """43,200 a day are 30 a minute: who waits, waits for the minute."""
    same = Limit("company:acme:day", 43_200, window_seconds=86_400, even=False, per="day")
    assert tightest([same, MINUTE]) is MINUTE
    waits = {"company:acme": Use(30, 2.0), "company:acme:day": Use(43_200, 2.0)}
    assert binding([same, MINUTE], waits) == Binding(MINUTE, Use(30, 2.0))


def test_a_lowered_limit_may_be_overdrawn() -> None:
    """More is on its way than the new number allows; nothing is left, and not less than nothing."""
    assert Binding(MINUTE, Use(45, 10.0)).left == 0


def test_without_limits_nothing_binds() -> None:
    """There is no limit to name."""
    assert binding([], {"all": Use(1, 1.0)}) is None
    assert tightest([]) is None


@given(limits=limit_sets, waits=st.lists(st.floats(0, 1e5), min_size=6, max_size=6))
def test_nothing_waits_longer_than_for_what_binds(limits: list[Limit], waits: list[float]) -> None:
    """In any order of the limits the same one is named, and it is the last to let mail go."""
    uses = {x.scope: Use(0, wait) for x, wait in zip(limits, waits, strict=False)}
    found = binding(limits, uses)
    assert found == binding(limits[::-1], uses)
    longest = max((use.wait_seconds for use in uses.values()), default=None)
    assert (found and found.use.wait_seconds) == longest
    if longest == 0:
        assert found is not None
        assert found.limit is tightest(limits)


@given(limits=limit_sets)
def test_no_limit_lets_fewer_go_than_the_tightest(limits: list[Limit]) -> None:
    """Over a day, every other limit would let as many go or more."""
    least = tightest(limits)
    assert (least and least.emails_per_minute) == min(
        (limit.emails_per_minute for limit in limits), default=None
    )


@pytest.mark.parametrize(("per", "number", "expected"), [("minute", 30, 30.0), ("day", 720, 0.5)])
def test_emails_per_minute(per: str, number: int, expected: float) -> None:
    """What a number amounts to does not depend on how short a test makes its minute."""
    limit = Limit("all", number, window_seconds=0.1, per="day" if per == "day" else "minute")
    assert limit.emails_per_minute == expected
