"""Counting the last hour by the minute: what is counted on, and what is added up from before."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.ledger import LANE, Store
from worker.telemetry.last_hour import LastHour

if TYPE_CHECKING:
    from collections.abc import Iterator

SCOPE = "company:acme"
START = 10_000.0


@pytest.fixture
def hour() -> LastHour:
    """Nothing was accepted, and that is known of the whole hour."""
    hour = LastHour(60.0)
    hour.start(START - 3600.0)
    return hour


@pytest.fixture
def store() -> Iterator[Store]:
    """An empty ledger."""
    store = Store()
    yield store
    store.close()


def reading(store: Store) -> Any:
    """The store, as the metrics process reads the ledger."""
    return SimpleNamespace(read=store.do)


def accepted(store: Store, *steady: float) -> None:
    """Write when servers accepted emails."""
    for number, at in enumerate(steady):
        store.change(
            "INSERT INTO attempt (job_id, n, company, user_id, kind, worker, begun_at, ended_at,"
            " accepted_steady, outcome) VALUES (:job, 1, :company, :user, :kind, 'w1', 0, 0, :at,"
            " 'sent')",
            job=f"{at}-{number}",
            at=at,
            **LANE._asdict(),
        )


def test_minutes_end_now(hour: LastHour) -> None:
    """The last minute is the last 60 seconds, not the minute of the clock."""
    for at in (START - 3599.0, START - 61.0, START - 58.0, START - 1.0):
        hour.add(SCOPE, at)
    (minutes,) = hour.minutes(START).values()
    assert (len(minutes), minutes[0], minutes[-2:], sum(minutes)) == (60, 1, (1, 2), 4)
    (later,) = hour.minutes(START + 30.0).values()
    assert (later[0], later[-2:], sum(later)) == (0, (2, 1), 3)


def test_no_minute_holds_more_than_a_window_did(hour: LastHour) -> None:
    """30 a minute, evenly: no look sees 31 in a minute, whenever it comes."""
    for number in range(300):
        hour.add(SCOPE, START - 600.0 + 2.0 * number)
    seen = {max(hour.minutes(START + shift / 10)[SCOPE]) for shift in range(50)}
    assert seen == {30}


def test_an_hour_later_a_scope_is_forgotten(hour: LastHour) -> None:
    """What sends no more is no longer told of, nor kept."""
    hour.add(SCOPE, START)
    assert hour.minutes(START + 3599.0)[SCOPE][0] == 1
    assert hour.minutes(START + 3601.0) == {}


def test_a_commit_that_comes_late_counts_in_its_minute(hour: LastHour) -> None:
    """It is stamped before the others, and known after them."""
    hour.add(SCOPE, START)
    hour.add(SCOPE, START - 70.0)
    assert hour.minutes(START)[SCOPE][-2:] == (1, 1)


def test_the_hour_before_is_added_up(store: Store) -> None:
    """Each acceptance of the hour before counting began is in its minute, once; no older one."""
    hour = LastHour(60.0)
    hour.start(START)
    accepted(store, START - 3700.0, START - 3500.5, START - 60.2, START - 0.2, START, START + 1.0)
    hour.add(SCOPE, START + 1.0)
    hour.fill(reading(store), lambda *_lane: [SCOPE], seconds=60.0)
    (minutes,) = hour.minutes(START + 2.0).values()
    assert (len(minutes), sum(minutes)) == (60, 5)
    assert minutes[-2:] == (1, 3)
    assert minutes[1] == 1


def test_a_long_past_is_read_bit_by_bit(store: Store) -> None:
    """A look without time reads one minute more; what is not known yet is not told as nothing."""
    hour = LastHour(60.0)
    hour.start(START)
    accepted(store, START - 90.0, START - 3000.0)
    hour.add(SCOPE, START)
    lengths = []
    for _ in range(62):
        lengths.append(len(hour.minutes(START + 1.0)[SCOPE]))
        hour.fill(reading(store), lambda *_lane: [SCOPE], seconds=0.0)
    assert lengths == sorted(lengths)
    assert lengths[0] == 1
    assert lengths[-1] == 60
    assert sum(hour.minutes(START + 1.0)[SCOPE]) == 3
