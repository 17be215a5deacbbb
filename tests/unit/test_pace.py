"""The pace: limits of a job, and the soft gap."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from worker.pace import (
    CATCH_UP_SECONDS,
    GAP_SHARE,
    Limit,
    limits_of,
    next_stamp,
    scope_of_context,
    scope_of_mailbox,
)


def settings(**changes: Any) -> Any:
    """Stand in for the settings in force: what the pace reads of them."""
    values = {
        "kind": "batch",
        "context": "acme",
        "account": "acme/jane",
        "pace": "even",
        "batch_emails_per_min": None,
        "all_batch_emails_per_min": None,
        "mailbox_emails_per_min": None,
        "limit_layer": lambda key: f"layer of {key}",
    }
    return cast("Any", SimpleNamespace(**{**values, **changes}))


ALL_SET = {
    "batch_emails_per_min": 30,
    "all_batch_emails_per_min": 600,
    "mailbox_emails_per_min": 20,
}


def test_a_batch_comes_under_every_limit_that_is_set() -> None:
    """Context, ceiling and mailbox, in the order in which they are locked."""
    limits = limits_of(settings(**ALL_SET))
    assert [(limit.scope, limit.limit) for limit in limits] == [
        ("all", 600),
        ("company:acme", 30),
        ("mailbox:acme/jane", 20),
    ]
    assert limits == sorted(limits)
    assert limits[1].layer == "layer of batch_emails_per_min"


@pytest.mark.parametrize("kind", ["send", "compose"])
def test_a_single_send_never_waits_for_a_batch_limit(kind: str) -> None:
    """Only the mailbox's own limit, which the server enforces, binds it."""
    assert [limit.scope for limit in limits_of(settings(kind=kind, **ALL_SET))] == [
        "mailbox:acme/jane"
    ]


def test_without_a_number_there_is_no_limit() -> None:
    """An absent key limits nothing."""
    assert limits_of(settings()) == []


def test_the_system_has_a_scope_of_its_own() -> None:
    """The system's budget is not shared with a company of whatever name."""
    assert scope_of_context("_system") == "system"
    assert scope_of_context("system") == "company:system"
    assert scope_of_mailbox("acme/jane") == "mailbox:acme/jane"


def test_burst_turns_the_gap_off_and_keeps_the_slots() -> None:
    """Only evenness is given up, never the bound."""
    (limit,) = limits_of(settings(pace="burst", batch_emails_per_min=30))
    assert (limit.limit, limit.window_seconds, limit.gap_seconds) == (30, 60.0, 0.0)


def test_a_tests_window_reaches_every_limit() -> None:
    """The window is one number, passed in."""
    assert {limit.window_seconds for limit in limits_of(settings(**ALL_SET), 5.0)} == {5.0}


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
    """After an idle hour the stamp lags one second behind, not an hour."""
    limit = Limit("all", 60)
    assert next_stamp(limit, 100.0, 3_700.0) == pytest.approx(
        3_700.0 - CATCH_UP_SECONDS + GAP_SHARE
    )
