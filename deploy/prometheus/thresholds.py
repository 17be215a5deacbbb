"""From which number on somebody is told: the one place, each changed by ``build.py --set NAME=VALUE``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MINUTE: Final = 60.0
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

SHORT_SECONDS: Final = 15.0
"""How often rules are worked out."""
BUDGET_SECONDS: Final = MINUTE
"""How often the budget is: its windows are hours and days."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """The numbers of the alerts and of what they are made from; times in seconds.

    Attributes:
        drain_seconds: what is due of a company takes longer than this to leave.
        send_age_seconds: a single send that is due has waited longer.
        batch_age_seconds: the same of a batch, where no limit keeps it.
        stalled_seconds: how long nothing leaves, though it may.
        held_seconds: how long a server, an account or a credential is held.
        throttled_ratio: the share of attempts that servers throttle.
        throttled_attempts: how many it must be before a share counts.
        dead_in_an_hour: so many new dead letters within an hour are no news.
        unknown_jobs: so many unknown emails of a company may wait for a person.
        restarts: so many worker processes of a host may die within 15 minutes.
        credential_seconds: how long before a credential ends it is a warning.
        credential_critical_seconds: how long before, critical.
        objective: the share of emails that are accepted, of all that end.
        budget_days: for how long that share is measured.
        least_failures: so few do not burn a budget, whatever their share.
        in_time_seconds: how soon a single send is tried, once it can go; a bucket of the histogram.
        process_emails_per_minute: what one worker process is counted on to send.
        unlimited_drain_seconds: in what time mail without a limit should have left.
    """

    drain_seconds: float = DAY
    send_age_seconds: float = 30 * MINUTE
    batch_age_seconds: float = 4 * HOUR
    stalled_seconds: float = 10 * MINUTE
    held_seconds: float = 10 * MINUTE
    throttled_ratio: float = 0.05
    throttled_attempts: int = 5
    dead_in_an_hour: int = 0
    unknown_jobs: int = 0
    restarts: int = 2
    credential_seconds: float = 14 * DAY
    credential_critical_seconds: float = 2 * DAY
    objective: float = 0.99
    budget_days: float = 30.0
    least_failures: int = 5
    in_time_seconds: float = 60.0
    process_emails_per_minute: float = 6000.0
    unlimited_drain_seconds: float = 5 * MINUTE
