"""Recipients of 24 hours: never more than allowed in any such time, and told when the next fit."""

from __future__ import annotations

import random

import pytest

from tests.support.ledger import Store, new_job
from worker.errors import BeginRefused
from worker.ledger import deliveries, recipients
from worker.ledger.recipients import BUCKET_SECONDS, DAY_SECONDS
from worker.ledger.rows import Terms
from worker.pace import Budget, Limit

SCOPE = "mailbox:acme/jane:recipients"
OTHER = "mailbox:acme/bob:recipients"


@pytest.fixture
def store() -> Store:
    """A ledger with one worker, at the beginning of a bucket."""
    store = Store()
    store.register("w1")
    store.clock.advance(-store.clock.wall % BUCKET_SECONDS)
    return store


def spend(store: Store, count: int, limit: int = 10, scope: str = SCOPE) -> None:
    """Count the recipients of one mail."""
    store.do(recipients.spend, Budget(scope, limit, count))


def wait(store: Store, count: int, limit: int = 10) -> float:
    """In how many seconds so many fit."""
    return store.do(recipients.wait_seconds, Budget(SCOPE, limit, count))


def test_a_day_is_used_up_and_comes_back_bucket_by_bucket(store: Store) -> None:
    """What was counted counts until 24 h after the end of its ten minutes."""
    spend(store, 4)
    store.clock.advance(BUCKET_SECONDS)
    spend(store, 6)
    assert (store.do(recipients.used, SCOPE), wait(store, 0)) == (10, 0.0)
    with pytest.raises(BeginRefused, match="used up the recipients of mailbox:acme/jane"):
        spend(store, 1)
    assert wait(store, 1) == wait(store, 4) == DAY_SECONDS
    assert wait(store, 5) == wait(store, 10) == DAY_SECONDS + BUCKET_SECONDS
    store.clock.advance(DAY_SECONDS - 0.5)
    assert wait(store, 1) == 0.5
    store.clock.advance(0.5)
    assert (store.do(recipients.used, SCOPE), wait(store, 4)) == (6, 0.0)
    spend(store, 4)


def test_a_refused_mail_counts_nothing_and_a_raised_limit_helps_at_once(store: Store) -> None:
    """The rest still fits; mailboxes do not share; a lowered limit lets nothing go."""
    spend(store, 7)
    with pytest.raises(BeginRefused):
        spend(store, 4)
    spend(store, 3)
    spend(store, 10, scope=OTHER)
    assert wait(store, 1, limit=11) == 0.0
    assert wait(store, 1, limit=5) == DAY_SECONDS + BUCKET_SECONDS
    assert store.do(recipients.used, SCOPE) == 10


def test_any_day_has_at_most_what_is_allowed(store: Store) -> None:
    """Random mails at random times for ten days: count back 24 h from each, and from its end."""
    chance = random.Random(4711)
    begun: list[tuple[float, int]] = []
    refused = 0
    while store.clock.wall < 1_800_000_000.0 + 10 * DAY_SECONDS:
        count = chance.randint(1, 40)
        try:
            spend(store, count, limit=200)
        except BeginRefused:
            refused += 1
            if chance.random() < 0.5:
                store.clock.advance(wait(store, count, limit=200))
                spend(store, count, limit=200)
                begun.append((store.clock.wall, count))
        else:
            begun.append((store.clock.wall, count))
        store.clock.advance(chance.expovariate(1 / 3000))
    worst = max(
        sum(count for at, count in begun if end - DAY_SECONDS < at <= end) for end, _ in begun
    )
    assert 190 <= worst <= 200
    assert refused > 50
    assert len(store.query("SELECT * FROM recipients")) <= DAY_SECONDS / BUCKET_SECONDS + 3


@pytest.mark.parametrize("direct", [True, False])
def test_a_begin_counts_all_of_it_or_none(store: Store, *, direct: bool) -> None:
    """Where they do not fit the job has not begun: row, attempts and slots are as before."""
    limit = Limit("company:acme", 5, even=False)
    spend(store, 8)
    full = Terms("w1", "smtp", 0.0, "resend", 600.0, Budget(SCOPE, 10, 3))
    fits = Terms("w1", "smtp", 0.0, "resend", 600.0, Budget(SCOPE, 10, 2))
    if direct:

        def begin(terms: Terms) -> None:
            store.do(deliveries.begin_direct, new_job("a"), token="t", terms=terms)
    else:
        store.accept("a")
        claim = store.claim(limit)

        def begin(terms: Terms) -> None:
            store.do(deliveries.begin_claimed, claim, terms=terms)

    before = [rows for rows in store.dump() if rows[0] != "recipients"]
    with pytest.raises(BeginRefused, match="used up"):
        begin(full)
    assert [rows for rows in store.dump() if rows[0] != "recipients"] == before
    assert store.do(recipients.used, SCOPE) == 8
    begin(fits)
    assert (store.state("a"), store.do(recipients.used, SCOPE)) == ("data", 10)
