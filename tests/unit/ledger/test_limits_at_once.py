"""Several limits at once, one story each: all or none, retries, days, and workers that die."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.ledger import LANE, LOST, Store, deferred
from tests.support.limits import LIMITS, limited
from worker.ledger import deliveries, endings, lanes, workers
from worker.ledger.rows import Claim, Nothing, Terms
from worker.ledger.slots import MOST_ADDED
from worker.pace import limits_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from worker.ledger.clock import Now

DAY_SECONDS = 86_400.0
ALL_SET = dict(zip(LIMITS, (3, 5, 4, 6, 2, 4), strict=True))
BATCH = limits_of(limited(pace="burst", **ALL_SET))
SEND = limits_of(limited(kind="send", pace="burst", **ALL_SET))
JANES_SENDS = LANE._replace(kind="send")


class Cut(Exception):
    """The connection to the database broke."""


class Breaking:
    """A connection that breaks before its n-th statement."""

    def __init__(self, connection: Connection, after: int) -> None:
        self._connection = connection
        self._left = after

    def execute(self, *args: Any, **named: Any) -> Any:
        """Execute, or break."""
        if self._left == 0:
            raise Cut
        self._left -= 1
        return self._connection.execute(*args, **named)


@pytest.fixture
def store() -> Iterator[Store]:
    """A ledger with two workers, and jobs in both of jane's lanes."""
    store = Store()
    store.register("w1", "w2")
    store.accept(*(f"b{n}" for n in range(9)))
    store.accept(*(f"s{n}" for n in range(9)), kind="send")
    yield store
    store.close()


def held(store: Store) -> list[Any]:
    """Every slot in somebody's hands."""
    return store.query("SELECT scope, number, token FROM slot WHERE token IS NOT NULL")


def test_a_take_that_is_cut_short_anywhere_leaves_nothing(store: Store) -> None:
    """Six limits are six slots and one job in one transaction: at no statement a part of it stays."""
    statements = 0

    def take(connection: Connection, now: Now) -> Claim | Nothing:
        breaking: Any = Breaking(connection, statements)
        return lanes.take(breaking, now, LANE, BATCH, worker="w1", token="t", ahead_seconds=0.0)

    before = store.dump()
    while True:
        try:
            claim = store.do(take)
        except Cut:
            assert store.dump() == before
            statements += 1
        else:
            break
    assert isinstance(claim, Claim)
    assert claim.slots == len(held(store)) == len(BATCH) == 6
    assert statements > 2 * len(BATCH)


def test_a_begin_that_is_cut_short_anywhere_begins_nothing(store: Store) -> None:
    """Job and slots are in DATA together, or none of them is."""
    claim = store.claim(*BATCH)
    before = store.dump()
    statements = 0

    def begin(connection: Connection, now: Now) -> None:
        breaking: Any = Breaking(connection, statements)
        terms = Terms("w1", "smtp", now.wall, "resend", 600.0)
        deliveries.begin_claimed(breaking, now, claim, terms=terms)

    while True:
        try:
            store.do(begin)
        except Cut:
            assert store.dump() == before
            statements += 1
        else:
            break
    assert statements > 1
    assert store.query("SELECT count(*) FROM slot WHERE in_data = 1") == [(6,)]


def test_what_one_limit_refuses_costs_no_other(store: Store) -> None:
    """Where the mailbox is used up, ceiling and company keep their slots for others."""
    for _ in range(2):
        claim = store.claim(*SEND, lane=JANES_SENDS)
        store.begin(claim)
        store.settle(claim)
    free = store.query("SELECT scope, number FROM slot WHERE worker IS NULL")
    taken = store.take(*BATCH)
    assert isinstance(taken, Nothing)
    assert taken.scope == "mailbox:acme/jane"
    assert held(store) == []
    assert set(free) <= set(store.query("SELECT scope, number FROM slot WHERE worker IS NULL"))


def test_batches_and_single_sends_share_the_mailbox_alone(store: Store) -> None:
    """A send uses up the mailbox's minute and day, and neither company nor ceiling."""
    claim = store.claim(*SEND, lane=JANES_SENDS)
    assert {scope for scope, _, _ in held(store)} == {
        "mailbox:acme/jane",
        "mailbox:acme/jane:day",
    }
    store.begin(claim)
    store.settle(claim)
    store.begin(store.claim(*BATCH))
    assert isinstance(store.take(*BATCH), Nothing)


def test_a_retry_takes_its_slots_again(store: Store) -> None:
    """What the server refused for now has used its slots, of the day too; the next try needs more."""
    for _ in range(2):
        claim = store.claim(*BATCH)
        assert claim.job_id == "b0"
        store.begin(claim)
        assert store.settle(claim, deferred(store.clock.wall))
    day = {row.usable_steady for row in store.slots("mailbox:acme/jane:day")}
    assert store.clock.steady + DAY_SECONDS in day
    assert isinstance(store.take(*BATCH), Nothing)
    store.clock.advance(60)
    assert store.claim(*BATCH).job_id == "b0"


def test_a_days_slot_rests_a_whole_day_after_its_reply(store: Store) -> None:
    """Four in the mailbox's day: the fifth leaves a day after the reply to the first, not sooner."""
    for _ in range(4):
        claim = store.claim(*SEND, lane=JANES_SENDS)
        store.begin(claim)
        store.clock.advance(20)
        store.settle(claim)
        store.clock.advance(60)
    first_reply = store.clock.steady - 4 * 80 + 20
    store.clock.advance(first_reply + DAY_SECONDS - store.clock.steady - 0.5)
    taken = store.take(*SEND, lane=JANES_SENDS, ahead_seconds=0.0)
    assert isinstance(taken, Nothing)
    assert taken.scope == "mailbox:acme/jane:day"
    assert taken.until_steady == pytest.approx(first_reply + DAY_SECONDS)
    store.clock.advance(0.5)
    store.begin(store.claim(*SEND, lane=JANES_SENDS))


def test_a_slot_taken_and_put_back_is_as_free_as_before(store: Store) -> None:
    """A job that never reached the server has cost nothing, of no limit."""
    claim = store.claim(*BATCH)
    store.do(endings.release, claim, due_at=0.0, reason="no connection")
    assert held(store) == []
    for limit in BATCH:
        assert {row.usable_steady for row in store.slots(limit.scope)} == {store.clock.steady}


def test_a_dead_workers_day_is_not_given_away(store: Store) -> None:
    """A mail on its way when its worker died counts for its minute, and for its day."""
    claims = [store.claim(*SEND, lane=JANES_SENDS) for _ in range(2)]
    for claim in claims:
        store.begin(claim)
    store.do(workers.bury, "w1")
    found_dead = store.clock.steady
    minute, day = SEND
    for limit, rest in ((minute, 60.0), (day, DAY_SECONDS)):
        rested = [row.usable_steady for row in store.slots(limit.scope)]
        assert len([at for at in rested if at >= found_dead + rest]) == len(claims)
    store.clock.advance(120)
    for _ in range(2):
        claim = store.claim(*SEND, lane=JANES_SENDS, worker="w2")
        store.begin(claim, worker="w2")
        store.settle(claim, LOST)
    store.clock.advance(3_600)
    taken = store.take(*SEND, lane=JANES_SENDS, worker="w2")
    assert isinstance(taken, Nothing)
    assert taken.scope == day.scope


def test_a_large_day_is_made_bit_by_bit(store: Store) -> None:
    """The first mail under a million a day makes some slots and takes one: nobody waits for all."""
    (limit,) = limits_of(limited(mailbox_emails_per_day=1_000_000))
    store.claim(limit)
    assert len(store.slots(limit.scope)) == MOST_ADDED
    assert len(held(store)) == 1
    store.change("UPDATE slot SET usable_steady = 1e9 WHERE worker IS NULL")
    store.claim(limit)
    assert len(store.slots(limit.scope)) == 2 * MOST_ADDED
