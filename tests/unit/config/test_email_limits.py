"""What one email through a mailbox may be is known before anything is connected to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.effective import Provenance
from config.email_limits import provider_refuses
from tests.support.jobs import make_job
from tests.support.settings import make_settings
from worker.composing import Composer
from worker.errors import Rejected

if TYPE_CHECKING:
    from config.effective import EffectiveSettings

MB = 1024 * 1024
FILE = "companies/acme/company.toml"


def office(**changes: Any) -> EffectiveSettings:
    """Settings of jane of acme, as choosing OAuth2 sets them."""
    fields = {
        "mailbox_recipients_per_email": 500,
        "mailbox_email_mb": 35,
        "provenance": {
            name: Provenance("oauth2", FILE, f"email.{name}")
            for name in ("mailbox_recipients_per_email", "mailbox_email_mb")
        },
    }
    return make_settings(**(fields | changes))


@given(recipients=st.integers(0, 2000), size=st.integers(0, 100 * MB))
def test_what_is_within_both_limits_may_go(recipients: int, size: int) -> None:
    """At the limit is within it; above either is not."""
    refusal = provider_refuses(recipients, size, office())
    assert (refusal is None) == (recipients <= 500 and size <= 35 * MB)
    assert "\n" not in (refusal or "")


def test_too_many_recipients() -> None:
    """One sentence with the number, the limit, who set it where, and what to do."""
    assert provider_refuses(612, 0, office()) == (
        "612 recipients, and one email through the mailbox of acme/jane may have 500 ([email] "
        f"mailbox_recipients_per_email, set by oauth2 in {FILE}): send it in parts"
    )


def test_too_large() -> None:
    """The size is the one that crosses the network, which is not that of the files."""
    assert provider_refuses(1, 42 * MB, office()) == (
        "42.0 MB as it crosses the network, and one email through the mailbox of acme/jane may "
        f"have 35 ([email] mailbox_email_mb, set by oauth2 in {FILE}): send a link instead of "
        "attachments"
    )


def test_a_mailbox_without_limits_refuses_nothing() -> None:
    """One's own server says itself what it does not take."""
    assert provider_refuses(100_000, 900 * MB, make_settings()) is None


def test_drafts() -> None:
    """A saved draft has its size; whom it goes to is its person's; a file has no provider."""
    saved = office(kind="compose", transport="microsoft-365")
    assert provider_refuses(612, 0, saved) is None
    assert provider_refuses(1, 42 * MB, saved) is not None
    assert provider_refuses(612, 42 * MB, office(transport="accredo-mailer")) is None


def test_such_an_email_is_refused_as_it_is_rendered() -> None:
    """Nothing was connected to, and no slot was used."""
    job = make_job(to=tuple(f"r{n}@example.nz" for n in range(3)))
    settings = office(mailbox_recipients_per_email=2)
    with pytest.raises(Rejected, match="3 recipients, and one email through"):
        Composer(None)(job, settings, 0.0, frozenset())
    served = frozenset({"r0@example.nz"})
    assert len(Composer(None)(job, settings, 0.0, served).recipients) == 2
