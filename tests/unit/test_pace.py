"""The pace: limits of a job, and the soft gap."""

from __future__ import annotations

import pytest

from tests.support.limits import LIMITS, WRITTEN, limited
from worker.pace import (
    CATCH_UP_SECONDS,
    GAP_SHARE,
    Limit,
    limits_of,
    next_stamp,
    scope_of_context,
    scope_of_mailbox,
)

ALL_SET = dict(zip(LIMITS, (30, 5000, 600, 50_000, 20, 10_000), strict=True))


def test_a_batch_comes_under_every_limit_that_is_set() -> None:
    """Context, ceiling and mailbox, by the minute and the day, in the order of their locks."""
    limits = limits_of(limited(**ALL_SET))
    assert [(limit.scope, limit.limit, limit.window_seconds) for limit in limits] == [
        ("all", 600, 60),
        ("all:day", 50_000, 86_400),
        ("company:acme", 30, 60),
        ("company:acme:day", 5000, 86_400),
        ("mailbox:acme/jane", 20, 60),
        ("mailbox:acme/jane:day", 10_000, 86_400),
    ]
    assert limits == sorted(limits)


def test_a_limit_knows_where_it_is_set() -> None:
    """Layer, file and key of each go with it, and read as one phrase."""
    limits = {limit.key: limit for limit in limits_of(limited(**ALL_SET))}
    assert {(each.layer, each.file, each.key) for each in limits.values()} == {
        (each.layer, each.file, each.key) for each in WRITTEN.values()
    }
    assert {key.rpartition(".")[2]: each.source for key, each in limits.items()} == {
        "batch_emails_per_min": "companies/acme/company.toml [smtp] batch_emails_per_min",
        "batch_emails_per_day": "companies/acme/company.toml [limits] batch_emails_per_day",
        "all_batch_emails_per_min": "system.toml [limits] all_batch_emails_per_min",
        "all_batch_emails_per_day": "POSTMETER_SYSTEM__LIMITS__ALL_BATCH_EMAILS_PER_DAY",
        "mailbox_emails_per_min": (
            "[email] mailbox_emails_per_min, set by oauth2 in companies/acme/company.toml"
        ),
        "mailbox_emails_per_day": "companies/acme/users/jane.toml [email] mailbox_emails_per_day",
    }
    assert str(limits["smtp.batch_emails_per_min"]) == "company:acme allows 30 a minute"
    assert str(limits["email.mailbox_emails_per_day"]) == "mailbox:acme/jane:day allows 10000 a day"


def test_where_a_limit_is_set_is_no_part_of_it() -> None:
    """The same number from another layer is the same limit: nothing starts anew."""
    ours, theirs = Limit("all", 30, layer="system"), Limit("all", 30, layer="environment", key="k")
    assert (ours, hash(ours)) == (theirs, hash(theirs))
    assert Limit("all", 31) != ours


def test_a_single_send_never_waits_for_a_batch_limit() -> None:
    """Only the mailbox's own limits, which the server enforces, bind it."""
    assert [limit.scope for limit in limits_of(limited(kind="send", **ALL_SET))] == [
        "mailbox:acme/jane",
        "mailbox:acme/jane:day",
    ]


def test_a_draft_comes_under_no_limit() -> None:
    """No server counts what is not sent."""
    assert limits_of(limited(kind="compose", **ALL_SET)) == []


def test_without_a_number_there_is_no_limit() -> None:
    """An absent key limits nothing."""
    assert limits_of(limited()) == []


def test_the_system_has_a_scope_of_its_own() -> None:
    """The system's budget is not shared with a company of whatever name."""
    assert scope_of_context("_system") == "system"
    assert scope_of_context("system") == "company:system"
    assert scope_of_mailbox("acme/jane") == "mailbox:acme/jane"


def test_burst_turns_the_gap_off_and_keeps_the_slots() -> None:
    """Only evenness is given up, never the bound."""
    (limit,) = limits_of(limited(pace="burst", batch_emails_per_min=30))
    assert (limit.limit, limit.window_seconds, limit.gap_seconds) == (30, 60.0, 0.0)


def test_a_day_is_no_pace() -> None:
    """What a day leaves goes as fast as the minutes let it, not one mail every 17 seconds."""
    (limit,) = limits_of(limited(batch_emails_per_day=5000))
    assert limit.gap_seconds == 0.0
    assert limit.emails_per_minute == pytest.approx(5000 / 1440)


def test_a_tests_window_reaches_every_limit() -> None:
    """The window is one number, passed in; a day is so many of it."""
    windows = {limit.per: limit.window_seconds for limit in limits_of(limited(**ALL_SET), 5.0)}
    assert windows == {"minute": 5.0, "day": 1440 * 5.0}


@pytest.mark.parametrize("number", [1, 30, 600])
def test_the_gap_is_a_little_under_the_even_one(number: int) -> None:
    """So that rounding never costs a slot."""
    gap = Limit("all", number).gap_seconds
    assert gap == pytest.approx(GAP_SHARE * 60 / number)
    assert gap * number < 60


def test_stamps_follow_each_other_by_the_gap() -> None:
    """While mail flows, each stamp is one gap after the one before."""
    limit = Limit("all", 60)
    assert next_stamp(limit, 100.0, 99.0) == pytest.approx(100.0 + GAP_SHARE)
    assert next_stamp(limit, 100.0, 100.9) == pytest.approx(100.0 + GAP_SHARE)


def test_a_pause_is_made_up_for_by_a_second_at_most() -> None:
    """After ten seconds, as a process needs to be found dead, the stamp lags one second behind."""
    limit = Limit("all", 60)
    assert next_stamp(limit, 100.0, 110.0) == pytest.approx(110.0 - CATCH_UP_SECONDS + GAP_SHARE)


def test_idle_time_is_not_made_up_for() -> None:
    """After an hour without mail the first two leave a gap apart, as all others will."""
    limit = Limit("all", 60)
    assert next_stamp(limit, 100.0, 3_700.0) == pytest.approx(3_700.0 + GAP_SHARE)


def test_time_without_a_slot_is_not_idle_time() -> None:
    """Where no slot was usable until a moment ago, the stamp may lag behind by its second."""
    limit = Limit("all", 60)
    assert next_stamp(limit, 100.0, 3_700.0, 3_699.9) == pytest.approx(
        3_700.0 - CATCH_UP_SECONDS + GAP_SHARE
    )
