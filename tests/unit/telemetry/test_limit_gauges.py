"""The gauges of limits: every one in force, by the minute and by the day, with its layer."""

from __future__ import annotations

from tests.support.limits import LIMITS, limited
from worker.pace import limits_of
from worker.telemetry.gauges import StandingGauges
from worker.telemetry.sampler import Sample

ALL_SET = dict(zip(LIMITS, (30, 5000, 600, 50_000, 20, 10_000), strict=True))


def test_every_limit_has_a_gauge() -> None:
    """A day's number never stands among the minutes', where a graph would add them up."""
    limits = {limit.scope: limit for limit in limits_of(limited(**ALL_SET))}
    sample = Sample(limits=limits, windows={}, workers=[], standing=None, loaded_at_seconds=0.0)
    told = {
        family.name: {
            (each.labels["scope"], each.labels["layer"]): each.value for each in family.samples
        }
        for family in StandingGauges(lambda: sample, "1").collect()
        if family.name.startswith("postmeter_limit_emails_per_")
    }
    assert told == {
        "postmeter_limit_emails_per_minute": {
            ("company:acme", "company"): 30,
            ("all", "system"): 600,
            ("mailbox:acme/jane", "oauth2"): 20,
        },
        "postmeter_limit_emails_per_day": {
            ("company:acme:day", "company"): 5000,
            ("all:day", "environment"): 50_000,
            ("mailbox:acme/jane:day", "user"): 10_000,
        },
    }
