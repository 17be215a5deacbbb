"""Settings in force whose limits a test chooses, each as if a file had set it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from config.effective import Provenance
from tests.support.settings import make_settings
from worker.pace import RULES

if TYPE_CHECKING:
    from config.effective import EffectiveSettings

LIMITS = tuple(rule.name for rule in RULES)
"""The attributes of the effective settings that limit, in the order of the rules."""

WRITTEN = {
    "batch_emails_per_min": Provenance(
        "company", "companies/acme/company.toml", "smtp.batch_emails_per_min"
    ),
    "batch_emails_per_day": Provenance(
        "company", "companies/acme/company.toml", "limits.batch_emails_per_day"
    ),
    "all_batch_emails_per_min": Provenance(
        "system", "system.toml", "limits.all_batch_emails_per_min"
    ),
    "all_batch_emails_per_day": Provenance(
        "environment",
        "POSTMETER_SYSTEM__LIMITS__ALL_BATCH_EMAILS_PER_DAY",
        "limits.all_batch_emails_per_day",
    ),
    "mailbox_emails_per_min": Provenance(
        "oauth2", "companies/acme/company.toml", "email.mailbox_emails_per_min"
    ),
    "mailbox_emails_per_day": Provenance(
        "user", "companies/acme/users/jane.toml", "email.mailbox_emails_per_day"
    ),
}
"""Where each limit is said to stand, by its attribute."""


def limited(**changes: Any) -> EffectiveSettings:
    """Settings of a batch of acme's jane with the limits that are handed in."""
    return make_settings(**({"kind": "batch", "provenance": WRITTEN} | changes))
