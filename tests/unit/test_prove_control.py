"""How soon a word acts, as the proof measures it: from times of acceptance, without running anything."""

from __future__ import annotations

from itertools import accumulate, chain, repeat
from typing import TYPE_CHECKING, Any

import pytest

from tests.prove.control import (
    GAP,
    LOW_GAP,
    Told,
    judge_control,
    until_faster,
    until_slower,
    until_still,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

HALF_A_SECOND_LATER = 1_000.5


def mails(*gaps: Iterable[float]) -> list[float]:
    """When mails came, the first at 1,000 s, each so long after the one before."""
    return list(accumulate(chain([1_000.0], *gaps)))


def test_a_pause_acts_when_the_last_mail_has_come() -> None:
    """What came before the word does not count; where nothing comes after it, it acted at once."""
    times = mails(repeat(GAP, 20))
    assert until_still(times, HALF_A_SECOND_LATER) == pytest.approx(1.5)
    assert until_still(times, times[-1] + 0.1) == 0.0


def test_a_pause_that_one_worker_does_not_see_shows() -> None:
    """One late mail after a long silence is the last."""
    times = mails(repeat(GAP, 5), [4.0])
    assert until_still(times, HALF_A_SECOND_LATER) == pytest.approx(4.0)


def test_a_lowered_limit_acts_when_the_old_pace_ends() -> None:
    """The last mail that came too soon after the last but one before it."""
    times = mails(repeat(GAP, 12), repeat(LOW_GAP, 8))
    assert until_slower(times, HALF_A_SECOND_LATER, LOW_GAP) == pytest.approx(0.7)


def test_two_mails_together_are_no_old_pace_and_three_are() -> None:
    """The gap makes up for one second after a pause, and for no more."""
    two = mails(repeat(GAP, 12), [5.0, 0.0, LOW_GAP])
    three = mails(repeat(GAP, 12), [5.0, 0.0, 0.0, LOW_GAP])
    assert until_slower(two, HALF_A_SECOND_LATER, LOW_GAP) == pytest.approx(0.7)
    assert until_slower(three, HALF_A_SECOND_LATER, LOW_GAP) == pytest.approx(5.7)


def test_a_limit_that_is_not_lowered_shows() -> None:
    """Mail that goes on as before is the old pace up to its end; silence is none."""
    times = mails(repeat(GAP, 80))
    assert until_slower(times, HALF_A_SECOND_LATER, LOW_GAP) == pytest.approx(7.5)
    assert until_slower(times, times[-1] + 0.1, LOW_GAP) == 0.0


def test_a_raised_limit_acts_with_the_first_mail_at_its_pace() -> None:
    """Mails at the old pace after the change are not it."""
    times = mails(repeat(LOW_GAP, 2), repeat(GAP, 30))
    assert until_faster(times, HALF_A_SECOND_LATER, GAP) == pytest.approx(1.5)


def test_a_mail_long_before_the_others_is_not_the_new_pace() -> None:
    """The last mail of the old pace may come half a second before the first of the new one."""
    times = mails([1.0, 0.6], repeat(GAP, 30))
    assert until_faster(times, HALF_A_SECOND_LATER, GAP) == pytest.approx(1.1, abs=1.01 * GAP)


def test_mails_that_are_made_up_for_do_not_come_before_themselves() -> None:
    """Ten mails at once are the new pace from the first of them on."""
    times = mails([2.0], repeat(0.0, 10), repeat(GAP, 10))
    assert until_faster(times, HALF_A_SECOND_LATER, GAP) == pytest.approx(1.5)


@pytest.mark.parametrize("times", [[], mails(repeat(LOW_GAP, 20)), mails(repeat(GAP, 12))])
def test_a_limit_that_is_not_raised_shows(times: list[float]) -> None:
    """No mail, the old pace, or too few mails: the new pace never came."""
    assert until_faster(times, HALF_A_SECOND_LATER, GAP) is None


def told(**other: Any) -> Told:
    """What was measured where all was well, but for this."""
    well: dict[str, Any] = {
        "paused": [0.0, 1.9],
        "resumed": [2.05, 0.1],
        "lowered": [1.2, 0.6],
        "raised": [0.1, 1.3],
    }
    return Told(**{**well, **other})


def test_words_that_act_in_time_hold() -> None:
    """Two seconds, and one gap more for the next mail; what was measured is told as it was."""
    control = judge_control("sqlite", told(), worst=600)
    assert control.failures == ()
    assert control.resume_seconds == [2.05, 0.1]


@pytest.mark.parametrize(
    ("other", "failure"),
    [
        ({"paused": [0.0, 2.3]}, "paused, mail came after 2.30 s, 2.0 s are allowed"),
        ({"resumed": [2.2]}, "resumed, mail came only after 2.20 s, 2.1 s are allowed"),
        (
            {"lowered": [8.1, 0.1]},
            "lowered to 60, mail came at the old pace after 8.10 s, 2.0 s are allowed",
        ),
        (
            {"raised": [5.0]},
            "raised to 600, mail came at the new pace only after 5.00 s, 2.0 s are allowed",
        ),
        ({"raised": []}, "raised to 600, mail came at the new pace only: never measured"),
        ({"over_restart": 3}, "3 mails left while paused, over a restart"),
        ({"silent": ["pause"]}, "no mail flowed before: pause"),
    ],
)
def test_each_word_that_acts_too_late_fails_the_part(other: dict[str, Any], failure: str) -> None:
    """The slowest of its times is judged, and what shows nothing is a failure, too."""
    assert judge_control("sqlite", told(**other), worst=600).failures == (failure,)


def test_a_window_over_the_limit_fails_the_part() -> None:
    """Words change the pace, never the bound."""
    failures = judge_control("postgresql", told(), worst=601).failures
    assert failures == ("601 mails in 60 s, the limit is 600",)
