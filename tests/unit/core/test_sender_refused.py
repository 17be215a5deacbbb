"""Who may send: the job's own sender against the settings of its account."""

from __future__ import annotations

import pytest

from tests.support.jobs import make_job
from tests.support.settings import make_settings
from worker.app import sender_refused


def test_the_accounts_own_address_may_always_send() -> None:
    """A job that names no sender, or the account's, with a display name or without."""
    settings = make_settings(allowed_from=("jane@example.nz",))  # as the settings are resolved
    for sender in (None, "jane@example.nz", "Jane Smith <jane@example.nz>"):
        assert sender_refused(make_job(sender=sender), settings) is None


def test_another_address_must_be_allowed() -> None:
    """The reason names domain, key and account, and not the address itself."""
    reason = sender_refused(make_job(sender="ceo@bank.example"), make_settings())
    assert reason == (
        "sender not allowed: an address at bank.example is not in allowed_from of acme/jane"
    )


@pytest.mark.parametrize("allowed", ["ceo@bank.example", "@bank.example"])
def test_an_allowed_sender_may_send(allowed: str) -> None:
    """By address or by domain."""
    settings = make_settings(allowed_from=(allowed,))
    assert sender_refused(make_job(sender="ceo@bank.example"), settings) is None


def test_without_any_address_there_is_no_sender() -> None:
    """An account without an address sends only what names a sender."""
    settings = make_settings(address=None)
    assert sender_refused(make_job(), settings) == (
        "no sender: the job names none, and acme/jane has no address"
    )
