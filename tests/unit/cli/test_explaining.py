"""``settings explain``: every limit in force with layer, file and key, and the tightest."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

from rich.console import Console

from config.effective import Provenance
from tests.support.limits import LIMITS, WRITTEN, limited
from worker.cli.explaining import explained, print_explained

if TYPE_CHECKING:
    from config.effective import EffectiveSettings

ALL_SET = dict(zip(LIMITS, (30, 5000, 600, 50_000, 20, 10_000), strict=True))


def text_of(settings: EffectiveSettings) -> str:
    """What a person reads, eighty columns wide."""
    written = io.StringIO()
    print_explained(Console(file=written, width=80, highlight=False), settings)
    return written.getvalue()


def limits_told(settings: EffectiveSettings) -> list[str]:
    """The lines about limits."""
    lines = [line.rstrip() for line in text_of(settings).splitlines()]
    return [line for line in lines if line.startswith(("limits,", "limits ", " "))]


def test_a_batch_shows_all_its_limits() -> None:
    """In the order of their locks, each with what set it; the tightest in the long run is marked."""
    assert limits_told(limited(**ALL_SET)) == [
        "limits, all at once:",
        "  all allows 600 a minute (system)",
        "    system.toml [limits] all_batch_emails_per_min",
        "  all:day allows 50000 a day = 34.7 a minute (environment)",
        "    POSTMETER_SYSTEM__LIMITS__ALL_BATCH_EMAILS_PER_DAY",
        "  company:acme allows 30 a minute (company)",
        "    companies/acme/company.toml [smtp] batch_emails_per_min",
        "  company:acme:day allows 5000 a day = 3.47 a minute (company), the tightest",
        "    companies/acme/company.toml [limits] batch_emails_per_day",
        "  mailbox:acme/jane allows 20 a minute (oauth2)",
        "    [email] mailbox_emails_per_min, set by oauth2 in companies/acme/company.toml",
        "  mailbox:acme/jane:day allows 10000 a day = 6.94 a minute (user)",
        "    companies/acme/users/jane.toml [email] mailbox_emails_per_day",
    ]


def test_one_limit_needs_no_mark() -> None:
    """Of one there is no tightest."""
    assert limits_told(limited(batch_emails_per_min=30)) == [
        "limits, all at once:",
        "  company:acme allows 30 a minute (company)",
        "    companies/acme/company.toml [smtp] batch_emails_per_min",
    ]


def test_without_limits_it_says_so() -> None:
    """A draft, or mail that nobody limits."""
    assert limits_told(limited()) == ["limits per minute or day: none"]
    assert limits_told(limited(kind="compose", **ALL_SET)) == ["limits per minute or day: none"]


BESIDE = {
    "mailbox_connections": 3,
    "mailbox_recipients_per_day": 10_000,
    "mailbox_recipients_per_email": 500,
    "mailbox_email_mb": 35,
    "provenance": WRITTEN
    | {
        "mailbox_connections": Provenance("user", "jane.toml", "email.mailbox_connections"),
        **{
            name: Provenance("oauth2", "company.toml", f"email.{name}")
            for name in (
                "mailbox_recipients_per_day",
                "mailbox_recipients_per_email",
                "mailbox_email_mb",
            )
        },
    },
}


def test_what_else_limits_a_mailbox_is_told_with_who_set_it() -> None:
    """Connections, recipients and sizes, each with its layer and the choice behind it."""
    assert limits_told(limited(**BESIDE))[1:] == [
        "  conn:acme/jane allows 3 connections at a time (user)",
        "    jane.toml [email] mailbox_connections",
        "  mailbox:acme/jane:recipients allows 10000 recipients a day (oauth2)",
        "    [email] mailbox_recipients_per_day, set by oauth2 in company.toml",
        "  mailbox:acme/jane takes emails to at most 500 recipients (oauth2)",
        "    [email] mailbox_recipients_per_email, set by oauth2 in company.toml",
        "  mailbox:acme/jane takes emails of at most 35 MB (oauth2)",
        "    [email] mailbox_email_mb, set by oauth2 in company.toml",
    ]


def test_what_does_not_concern_a_mail_is_not_told() -> None:
    """Graph has requests for connections; a draft has no recipients yet; a file has no provider."""
    by_graph = limits_told(limited(transport="microsoft-365", **BESIDE))
    assert by_graph[1] == "  conn:acme/jane allows 3 requests at a time (user)"
    draft = limits_told(limited(kind="compose", transport="microsoft-365", **BESIDE))
    assert [line for line in draft if "recipients" in line] == []
    file = limited(kind="compose", transport="accredo-mailer", **BESIDE)
    assert limits_told(file) == ["limits per minute or day: none"]


def test_limits_for_scripts() -> None:
    """Each with numbers and its three sources; the tightest by its scope."""
    document: dict[str, Any] = json.loads(json.dumps(explained(limited(**ALL_SET))))
    assert document["tightest"] == "company:acme:day"
    assert [each["scope"] for each in document["limits"]] == [
        "all",
        "all:day",
        "company:acme",
        "company:acme:day",
        "mailbox:acme/jane",
        "mailbox:acme/jane:day",
    ]
    assert document["limits"][3] == {
        "scope": "company:acme:day",
        "limit": 5000,
        "per": "day",
        "emails_per_minute": 5000 / 1440,
        "layer": "company",
        "file": "companies/acme/company.toml",
        "key": "limits.batch_emails_per_day",
    }
    assert explained(limited())["tightest"] is None
