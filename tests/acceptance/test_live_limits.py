"""Limits follow the settings while workers run, up and down; judged by the receiving server."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.support.fleet import Company, Fleet
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RAISED_SECONDS = 20.0
"""By then a raised limit shows; the gap of the old one was 60 s, the window is 60 s."""
LOWERED_SECONDS = 8.0
"""2 s for every worker to see it, 3 s for what was taken, the rest for a busy machine."""


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """Two worker processes that may send one batch email a minute."""
    with Fleet(tmp_path / "fleet", (Company("acme", 1),), processes=2) as running:
        yield running


def between(fleet: Fleet, start: float, end: float) -> int:
    """How many emails the server accepted in a span of ``time.monotonic``."""
    return sum(start <= each.at < end for each in fleet.arrivals())


@pytest.mark.slow
def test_a_limit_follows_the_settings_up_and_down(fleet: Fleet) -> None:
    """Raised, mail does not wait for the old gap; lowered, it stops until the new limit allows."""
    fleet.publish_batch("acme", 1500)
    wait_until(lambda: len(fleet.arrivals()) == 1, "the first email")
    raised = time.monotonic()
    fleet.write_settings({"acme": 600})
    wait_until(lambda: between(fleet, raised, raised + RAISED_SECONDS) >= 20, "a faster flow")
    lowered = time.monotonic()
    fleet.write_settings({"acme": 6})
    time.sleep(LOWERED_SECONDS + 10.0)
    since = lowered + LOWERED_SECONDS
    assert between(fleet, since, since + 10.0) <= 6
    again = time.monotonic()
    fleet.write_settings({"acme": 600})
    wait_until(lambda: between(fleet, again, again + RAISED_SECONDS) >= 20, "a faster flow again")
