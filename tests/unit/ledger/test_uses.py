"""How far limits are used up, against what the taking statements then do."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.ledger import Store
from worker.binding import Use, binding
from worker.ledger.rows import Claim, Nothing
from worker.ledger.uses import uses_of
from worker.pace import GAP_SHARE, Limit

if TYPE_CHECKING:
    from collections.abc import Iterator

MINUTE = Limit("company:acme", 3, even=False)
DAY = Limit("company:acme:day", 5, window_seconds=86_400, even=False, per="day")


@pytest.fixture
def store() -> Iterator[Store]:
    """A ledger with one worker and enough jobs."""
    store = Store()
    store.register("w1")
    store.accept(*(f"j{n}" for n in range(20)))
    yield store
    store.close()


def use(store: Store, limit: Limit, emails: int = 1) -> Use:
    """What the ledger says of one limit."""
    return store.do(uses_of, [limit], emails)[limit.scope]


def send(store: Store, *limits: Limit) -> None:
    """Have one mail accepted, at once."""
    claim = store.claim(*limits)
    store.begin(claim)
    store.settle(claim)


def test_a_scope_that_was_never_used(store: Store) -> None:
    """All is left, and nothing waits."""
    assert use(store, MINUTE) == (0, 0.0)
    assert use(store, MINUTE, emails=3) == (0, 0.0)
    assert use(store, MINUTE, emails=4) == (0, 60.0)
    assert use(store, MINUTE, emails=7) == (0, 120.0)


def test_what_rests_and_what_is_in_hand_is_held(store: Store) -> None:
    """The next mail waits for the first slot to have rested; those beyond for the later ones."""
    send(store, MINUTE)
    store.clock.advance(10)
    store.claim(MINUTE)
    store.begin(store.claim(MINUTE))
    assert use(store, MINUTE) == (3, 50.0)
    assert use(store, MINUTE, emails=2) == (3, 60.0)
    assert use(store, MINUTE, emails=4) == (3, 110.0)
    store.clock.advance(50)
    assert use(store, MINUTE) == (2, 0.0)


def test_a_lowered_limit_counts_its_own_slots_only(store: Store) -> None:
    """What the higher limit let go does not count twice, and what rests still does."""
    for _ in range(3):
        send(store, MINUTE)
    assert use(store, Limit("company:acme", 2, even=False)) == (2, 60.0)
    assert use(store, Limit("company:acme", 10, even=False)) == (3, 0.0)


def test_the_soft_gap_is_waited_for_too(store: Store) -> None:
    """A scope with slots left lets the next mail go when its turn comes."""
    sixty = Limit("company:acme", 60)
    send(store, sixty)
    send(store, sixty)
    assert use(store, sixty).held == 2
    assert use(store, sixty).wait_seconds == pytest.approx(2 * sixty.gap_seconds)
    raised = Limit("company:acme", 600)
    assert use(store, raised).wait_seconds < use(store, sixty).wait_seconds


def test_minute_and_day_take_turns_in_binding(store: Store) -> None:
    """After three mails the minute binds, after five the day."""
    for _ in range(3):
        send(store, MINUTE, DAY)
    limits = sorted([MINUTE, DAY])
    found = binding(limits, store.do(uses_of, limits))
    assert found
    assert (found.limit, found.use) == (MINUTE, (3, 60.0))
    store.clock.advance(60)
    for _ in range(2):
        send(store, MINUTE, DAY)
    found = binding(limits, store.do(uses_of, limits))
    assert found
    assert (found.limit, found.use) == (DAY, (5, 86_340.0))


def test_the_mail_that_a_day_will_stop_is_told_beforehand(store: Store) -> None:
    """For the next mail it is the minute, for the sixth from now the day."""
    limits = sorted([MINUTE, DAY])
    for _ in range(3):
        send(store, MINUTE, DAY)
    for emails, limit in ((1, MINUTE), (2, MINUTE), (3, DAY)):
        found = binding(limits, store.do(uses_of, limits, emails))
        assert found
        assert found.limit == limit


@settings(max_examples=40, deadline=None)
@given(
    number=st.integers(1, 4),
    even=st.booleans(),
    pauses=st.lists(st.sampled_from([0.0, 0.7, 13.0, 61.0]), max_size=6),
    emails=st.integers(1, 9),
)
def test_the_wait_is_what_it_takes(
    number: int, pauses: list[float], emails: int, *, even: bool
) -> None:
    """From any past, with replies at once, that many mails leave after just that time."""
    limit = Limit("company:acme", number, even=even)
    store = Store()
    store.register("w1")
    store.accept(*(f"j{n}" for n in range(20)))
    for pause in pauses:
        store.clock.advance(pause)
        claim = store.take(limit, ahead_seconds=0.0)
        if isinstance(claim, Claim):
            store.begin(claim)
            store.settle(claim)
    told = use(store, limit, emails).wait_seconds
    began = store.clock.steady
    for _ in range(emails):
        while isinstance(taken := store.take(limit, ahead_seconds=0.0), Nothing):
            store.clock.advance(max(0.0, taken.until_steady - store.clock.steady))
        store.begin(taken)
        store.settle(taken)
    took = store.clock.steady - began
    assert took >= told - 1.001  # the second that the gap may catch up
    assert took == pytest.approx(told, abs=1.001 + (1 - GAP_SHARE) * max(60.0, told))
    store.close()


def test_reading_takes_nothing(store: Store) -> None:
    """However often it is asked, the ledger stays as it is."""
    send(store, MINUTE, DAY)
    before = store.dump()
    for emails in itertools.chain(range(1, 4), (100,)):
        store.do(uses_of, [MINUTE, DAY, Limit("all", 7)], emails)
    assert store.dump() == before
