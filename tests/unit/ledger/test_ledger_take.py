"""Taking: a job together with a slot of each of its limits, or nothing at all."""

from __future__ import annotations

import pytest

from tests.support.ledger import LANE, Store, deferred
from worker.ledger import holds, lanes, workers
from worker.ledger.rows import Claim, Nothing
from worker.pace import GAP_SHARE, Limit

LIMIT = Limit("company:acme", 3)
BURST = Limit("company:acme", 3, even=False)
CEILING = Limit("all", 2, even=False)


@pytest.fixture
def store() -> Store:
    """A ledger with one worker and nothing to do."""
    store = Store()
    store.register("w1")
    return store


def test_take_hands_out_the_job_with_everything_an_attempt_needs(store: Store) -> None:
    """The claim carries body, dates and slots; the row is in the worker's hands."""
    store.accept("a", due_at=store.clock.wall - 5)
    claim = store.claim(LIMIT)
    assert (claim.job_id, claim.slots, claim.attempts) == ("a", 1, 0)
    assert claim.body == store.row("a").body
    assert claim.not_before_steady <= store.clock.steady
    assert claim.waiting_since_at == store.clock.wall
    assert (store.row("a").state, store.row("a").worker) == ("claimed", "w1")
    assert [slot.worker for slot in store.slots("company:acme")] == ["w1", None, None]


def test_an_empty_lane_wastes_no_slot(store: Store) -> None:
    """Nothing to send takes nothing, and the lane is left alone from then on."""
    assert store.take(LIMIT) == Nothing()
    assert [slot.worker for slot in store.slots("company:acme")] == [None] * 3
    assert store.do(lanes.due_lanes) == ([], None)


def test_a_job_that_is_not_due_yet_stays(store: Store) -> None:
    """A date in the future keeps the job, takes no slot and is what the lane waits for."""
    due_at = store.clock.wall + 30
    store.accept("a", due_at=due_at)
    assert store.take(LIMIT) == Nothing()
    assert store.do(lanes.due_lanes) == ([], due_at)
    store.clock.advance(30)
    assert store.claim(LIMIT).job_id == "a"


def test_what_was_tried_before_goes_first(store: Store) -> None:
    """A retry that is due overtakes every job of its lane that was never tried."""
    store.accept("a", "b", "c")
    claim = store.claim(BURST)
    store.begin(claim)
    store.settle(claim, deferred(store.clock.wall + 10))
    assert store.claim(BURST).job_id == "b"
    store.clock.advance(10)
    assert store.claim(BURST).job_id == "a"


def test_only_as_many_slots_as_the_limit(store: Store) -> None:
    """With every slot taken there is nothing until one comes free."""
    store.accept("a", "b", "c", "d")
    for _ in range(3):
        store.claim(BURST)
    taken = store.take(BURST)
    assert isinstance(taken, Nothing)
    assert taken.scope == "company:acme"
    assert store.clock.steady < taken.until_steady <= store.clock.steady + 1


def test_a_resting_slot_is_named_with_its_time(store: Store) -> None:
    """The pump is told when to look again: when the next slot is usable, less the time ahead."""
    one = Limit("company:acme", 1, even=False)
    store.in_data("a", one)
    store.accept("b")
    store.change(
        "UPDATE slot SET worker = NULL, token = NULL, in_data = 0, usable_steady = :at",
        at=store.clock.steady + 60,
    )
    taken = store.take(one, ahead_seconds=3.0)
    assert isinstance(taken, Nothing)
    assert taken.until_steady == pytest.approx(store.clock.steady + 57)
    store.clock.advance(57.5)
    ahead = store.claim(one)
    assert ahead.not_before_steady == pytest.approx(store.clock.steady + 2.5)


def test_the_soft_gap_spreads_what_is_taken(store: Store) -> None:
    """After an idle time, one goes at once, one a second later, then each a gap apart."""
    twelve = Limit("company:acme", 12)
    store.accept(*[f"j{i}" for i in range(4)])
    start = store.clock.steady
    store.claim(twelve)
    gap = GAP_SHARE * 5
    assert store.query("SELECT next_steady FROM scope")[0][0] == pytest.approx(start + gap)
    taken = store.take(twelve)
    assert isinstance(taken, Nothing)
    assert taken.until_steady == pytest.approx(start + gap - 3.0)
    store.clock.advance(2.0)
    second = store.claim(twelve)
    assert second.not_before_steady == pytest.approx(start + gap)


@pytest.mark.parametrize(("pause_seconds", "at_once"), [(10.0, 2), (100.0, 1)])
def test_the_soft_gap_forgives_a_second_of_lag(
    store: Store, pause_seconds: float, at_once: int
) -> None:
    """A pause is made up for by a second at most, and idleness not at all."""
    sixty = Limit("company:acme", 60)
    store.accept(*[f"j{i}" for i in range(9)])
    store.claim(sixty)
    store.clock.advance(pause_seconds)
    taken = [store.take(sixty, ahead_seconds=0) for _ in range(5)]
    assert sum(isinstance(one, Claim) for one in taken) == at_once


def test_all_scopes_or_none(store: Store) -> None:
    """Where one limit has no slot, no other limit's slot and no place in its gap is taken."""
    store.accept("a", "b", "c")
    store.claim(CEILING, BURST)
    store.claim(CEILING, BURST)
    before = store.dump()
    taken = store.take(CEILING, BURST)
    assert isinstance(taken, Nothing)
    assert taken.scope == "all"
    assert store.dump() == before


def test_a_job_without_a_limit_takes_no_slot(store: Store) -> None:
    """No limit, no slot: the job may go at once."""
    store.accept("a")
    claim = store.claim()
    assert (claim.slots, claim.not_before_steady) == (0, store.clock.steady)
    assert store.query("SELECT * FROM slot") == []


def test_lowering_and_raising_a_limit_keeps_every_stamp(store: Store) -> None:
    """Slots beyond a lowered limit are not handed out, not deleted, and rest on."""
    six, two = Limit("company:acme", 6, even=False), Limit("company:acme", 2, even=False)
    for number in range(6):
        store.settle(store.in_data(f"j{number}", six))
    store.accept("next")
    assert isinstance(store.take(two), Nothing)
    assert isinstance(store.take(six), Nothing)
    assert len(store.slots("company:acme")) == 6
    store.clock.advance(60)
    assert store.claim(two).job_id == "next"


def test_a_raised_limit_adds_what_is_missing(store: Store) -> None:
    """The new slots are usable at once; the old ones go on resting."""
    store.settle(store.in_data("a", Limit("company:acme", 1, even=False)))
    store.accept("b", "c")
    store.claim(Limit("company:acme", 2, even=False))
    assert isinstance(store.take(Limit("company:acme", 2, even=False)), Nothing)


def test_several_jobs_are_taken_together(store: Store) -> None:
    """In their order, each with a slot of its own and its place in the gap; no more than there are."""
    sixty = Limit("company:acme", 60)
    store.accept("a", "b", "c")
    taken = store.do(
        lanes.take_some,
        LANE,
        [sixty],
        worker="w1",
        tokens=["t1", "t2", "t3", "t4", "t5"],
        ahead_seconds=3.0,
    )
    assert isinstance(taken, list)
    assert [claim.job_id for claim in taken] == ["a", "b", "c"]
    gaps = [claim.not_before_steady - store.clock.steady for claim in taken]
    assert gaps == pytest.approx([0.0, sixty.gap_seconds, 2 * sixty.gap_seconds])
    assert [row.token for row in store.slots("company:acme")[:4]] == ["t1", "t2", "t3", None]


def test_no_more_are_taken_together_than_may_begin(store: Store) -> None:
    """The soft gap and the slots bound them; what is left keeps its place."""
    store.accept(*"abcdef")

    def take(limit: Limit) -> list[str]:
        taken = store.do(
            lanes.take_some,
            LANE,
            [limit],
            worker="w1",
            tokens=[store.new_token() for _ in range(6)],
            ahead_seconds=1.5,
        )
        assert isinstance(taken, list)
        return [claim.job_id for claim in taken]

    assert take(Limit("company:acme", 60)) == ["a", "b"]
    assert take(Limit("all", 3, even=False)) == ["c", "d", "e"]


def test_a_worker_that_was_found_dead_takes_nothing(store: Store) -> None:
    """What it took would name a worker that nobody reaps again."""
    store.accept("a")
    store.do(workers.bury, "w1")
    before = store.dump()
    taken = store.take(LIMIT)
    assert isinstance(taken, Nothing)
    assert taken.until_steady > store.clock.steady
    assert store.dump() == before


def test_a_probe_is_taken_with_the_job_or_not_at_all(store: Store) -> None:
    """A held target's one probe goes with one claim; the next taker gets nothing."""
    store.accept("a", "b")
    store.do(holds.put_hold, "server:mx", "refused")
    assert store.take(LIMIT, probes=("server:mx",)) == Nothing()
    store.clock.advance(holds.FIRST_PROBE_SECONDS)
    claim = store.take(LIMIT, probes=("server:mx",))
    assert isinstance(claim, Claim)
    assert claim.probes == ("server:mx",)
    store.clock.advance(30)
    assert store.take(LIMIT, probes=("server:mx",)) == Nothing()
    assert store.state("b") == "waiting"
