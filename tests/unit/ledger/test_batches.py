"""Batches as a whole: paused jobs leave the line, go back to their places, and are never lost."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from tests.support.databases import InMemory
from tests.support.ledger import ENVELOPE, LANE, LOST, Store, deferred, new_job
from worker.errors import BeginRefused
from worker.ledger import (
    batches,
    care,
    deliveries,
    endings,
    holds,
    housekeeping,
    lanes,
    operations,
    pauses,
    workers,
)
from worker.ledger.lanes import Lane
from worker.ledger.rows import Claim, Nothing, State, Terms
from worker.pace import Limit

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.sql.elements import TextClause

BATCH = ("acme", "november")
LIMIT = Limit("company:acme", 9, even=False)


@pytest.fixture
def store() -> Store:
    """A ledger with one worker."""
    store = Store()
    store.register("w1")
    return store


def fill(store: Store, count: int, batch_id: str = "november", **changes: object) -> None:
    """Let so many jobs of a batch wait."""
    for index in range(count):
        job_id = f"{batch_id}-{index:04d}"
        store.accept(job_id, batch_id=batch_id, batch_index=index, **changes)


def pause(store: Store, until_at: float | None = None) -> int:
    """Pause the batch as the command does; how many jobs were parked."""
    store.do(batches.pause_batch, *BATCH, held_by="ann", words="wrong", until_at=until_at)
    return repeat(store, batches.park_some)


def resume(store: Store) -> int:
    """Resume the batch as the command does; how many jobs are back in line."""
    assert store.do(batches.end_pause, *BATCH)
    return repeat(store, batches.put_back_some)


def repeat(store: Store, step: Callable[..., int], *more: str) -> int:
    """Do a step until nothing is left."""
    done = 0
    while changed := store.do(step, *BATCH, *more):
        assert changed <= 500
        done += changed
    return done


def states(store: Store) -> Counter[str]:
    """How many jobs are in each state."""
    return Counter(state for (state,) in store.query("SELECT state FROM delivery"))


def taken(store: Store) -> list[str]:
    """Everything that can be taken now, in its order."""
    found = []
    while isinstance(claim := store.take(), Claim):
        found.append(claim.job_id)
    return found


def test_a_paused_batch_leaves_the_line_and_another_goes_on(store: Store) -> None:
    """Only the other batch's jobs are to be had, and the line does not look at the paused ones."""
    fill(store, 1200)
    fill(store, 2, "december")
    assert pause(store) == 1200
    row = store.row("november-0000")
    assert (row.state, row.reason, row.body) == ("paused", "paused by ann: wrong", ENVELOPE)
    assert taken(store) == ["december-0000", "december-0001"]
    assert store.do(lanes.due_lanes) == ([], None)


def test_resumed_jobs_have_their_dates_and_places_of_before(store: Store) -> None:
    """Retries first, then by date, then by row; the pause leaves no trace but time."""
    fill(store, 4)
    claim = store.claim(LIMIT)
    store.begin(claim)
    store.settle(claim, deferred(store.clock.wall))
    store.accept("later", batch_id="november", batch_index=9, due_at=store.clock.wall + 60)
    before = store.query("SELECT job_id, prio, due_at, seq, attempts FROM delivery ORDER BY 1")
    assert pause(store) == 5
    store.clock.advance(30)
    assert resume(store) == 5
    assert (
        store.query("SELECT job_id, prio, due_at, seq, attempts FROM delivery ORDER BY 1") == before
    )
    assert store.do(pauses.pause_on, "batch:acme/november") is None
    assert store.row("november-0001").reason == ""
    assert taken(store) == [f"november-{n:04d}" for n in range(4)]
    store.clock.advance(30)
    assert taken(store) == ["later"]


def test_what_arrives_for_a_paused_batch_is_parked(store: Store) -> None:
    """It is stored, and does not wait in line; the same batch of another company goes on."""
    fill(store, 1)
    pause(store)
    store.accept("new", batch_id="november", batch_index=7)
    store.accept("other", batch_id="november", batch_index=7, company="beta")
    assert store.state("new") == "paused"
    assert store.state("other") == "waiting"
    assert resume(store) == 2


def test_a_job_of_a_paused_batch_does_not_begin_directly(store: Store) -> None:
    """One that no limit binds comes straight from the queue, and is refused in the last moment."""
    fill(store, 1)
    pause(store)
    job = new_job("direct", batch_id="november", batch_index=8)
    with pytest.raises(BeginRefused, match="paused by ann: wrong"):
        store.do(
            deliveries.begin_direct,
            job,
            token="t",
            terms=Terms("w1", "smtp", store.clock.wall, "resend", 600.0),
        )
    assert store.do(deliveries.accept, job)
    assert store.state("direct") == "paused"


def test_a_claimed_job_is_parked_and_its_claim_is_spent(store: Store) -> None:
    """Nothing leaves after the command: the worker's begin is refused, its slot is free again."""
    fill(store, 2)
    claim = store.claim(LIMIT)
    assert pause(store) == 2
    with pytest.raises(BeginRefused):
        store.begin(claim)
    assert not store.do(endings.release, claim, due_at=0.0, reason="refused")
    assert store.slots("company:acme")[0].worker is None
    assert store.row(claim.job_id).state == "paused"


@pytest.mark.parametrize("comes_back", ["deferred", "reaped", "resent", "revived"])
def test_what_comes_back_into_line_is_parked_when_its_turn_comes(
    store: Store, comes_back: str
) -> None:
    """A job that was in DATA when its batch was paused is not sent again meanwhile."""
    fill(store, 2)
    claim = store.claim(LIMIT)
    store.begin(claim)
    pause(store)
    if comes_back == "deferred":
        store.settle(claim, deferred(store.clock.wall))
    elif comes_back == "reaped":
        store.do(workers.bury, "w1")
        store.register("w1")
        store.clock.advance(600)
        assert store.do(housekeeping.resend_unknown)
    else:
        store.settle(claim, LOST)
        if comes_back == "resent":
            store.clock.advance(600)
            assert store.do(housekeeping.resend_unknown)
        else:
            assert store.do(operations.revive, claim.job_id, state="unknown", reason="by hand")
    assert store.state(claim.job_id) == "waiting"
    assert isinstance(store.take(), Nothing)
    assert states(store) == {"paused": 2}
    assert store.do(lanes.due_lanes) == ([], None)


def test_a_turn_parks_so_many_and_no_more(store: Store) -> None:
    """Whatever waits of a paused batch, one ``take`` stays short; the next goes on with it."""
    fill(store, 2600)
    fill(store, 1, "october", due_at=1.0)
    store.do(batches.pause_batch, *BATCH, held_by="ann")
    assert isinstance(store.take(), Nothing)
    assert states(store)["paused"] == lanes.MOST_PARKED
    assert taken(store) == ["october-0000"]


def test_a_pause_that_is_over_is_finished_by_housekeeping(store: Store) -> None:
    """At its time the jobs go back in line, first ones first; the hold goes when all are back."""
    fill(store, 2300)
    assert pause(store, until_at=store.clock.wall + 60) == 2300
    store.do(housekeeping.keep)
    assert states(store) == {"paused": 2300}
    store.clock.advance(60)
    store.do(lambda c, now: workers.beat(c, now, "w1"))
    store.do(housekeeping.keep)
    assert states(store) == {"paused": 300, "waiting": 2000}
    assert store.state("november-1999") == "waiting"
    assert store.do(lanes.due_lanes)[0] == [LANE]
    store.do(housekeeping.keep)
    assert states(store) == {"waiting": 2300}
    store.clock.advance(batches.LOOK_AGAIN_SECONDS)
    store.do(batches.tend)
    assert store.do(lambda c, _: holds.all_holds(c)) == []


def test_a_resume_that_was_interrupted_is_finished_by_housekeeping(store: Store) -> None:
    """Whoever ended the pause may be killed at any moment."""
    fill(store, 3)
    pause(store)
    assert store.do(batches.end_pause, *BATCH)
    assert isinstance(store.take(), Nothing)
    store.do(housekeeping.keep)
    assert taken(store) == [f"november-{n:04d}" for n in range(3)]


def test_a_job_that_was_parked_at_the_last_moment_is_not_forgotten(store: Store) -> None:
    """A transaction that saw the pause in force may commit after the others are back in line."""
    fill(store, 2)
    pause(store)
    store.change("UPDATE delivery SET state = 'waiting' WHERE job_id = 'november-0001'")
    assert resume(store) == 1
    store.change("UPDATE delivery SET state = 'paused' WHERE job_id = 'november-0001'")
    store.do(batches.tend)
    assert states(store) == {"waiting": 2}


def test_the_ledgers_check_finds_what_nothing_would_ever_resume(store: Store) -> None:
    """A paused batch is sound; paused jobs without a pause are not."""
    fill(store, 2)
    pause(store)
    assert store.do(care.check).problems == ()
    assert store.do(care.check).jobs == {State.PAUSED: 2}
    store.change("DELETE FROM hold")
    problems = store.do(care.check).problems
    assert problems == ("jobs are paused although nothing pauses their batch: 2",)


def test_a_pause_that_was_interrupted_is_finished_by_housekeeping(store: Store) -> None:
    """The hold commits first, so what is left in line is parked by whoever comes next."""
    fill(store, 3)
    store.do(batches.pause_batch, *BATCH, held_by="ann")
    store.do(housekeeping.keep)
    assert states(store) == {"paused": 3}


def test_a_batch_that_is_paused_again_is_not_put_back(store: Store) -> None:
    """A resume under way stops where somebody pauses the batch again."""
    fill(store, 1)
    pause(store)
    assert store.do(batches.end_pause, *BATCH)
    assert not store.do(batches.end_pause, *BATCH)
    store.do(batches.pause_batch, *BATCH, held_by="bob")
    assert store.do(batches.put_back_some, *BATCH) == 0
    assert states(store) == {"paused": 1}


def test_paused_jobs_are_cancelled_with_the_rest(store: Store) -> None:
    """Waiting, paused and claimed ones, with an event each; what is in DATA is not."""
    fill(store, 4)
    store.begin(store.claim(LIMIT))
    store.claim(LIMIT)
    pause(store)
    store.accept("claimed", batch_id="december", batch_index=0)
    assert repeat(store, batches.cancel_some, "by hand") == 3
    assert states(store) == {"data": 1, "cancelled": 3, "waiting": 1}
    row = store.row("november-0003")
    assert (row.body, row.event, row.reason) == (None, "cancelled", "by hand")


def test_a_paused_job_expires_and_is_cancelled_alone(store: Store) -> None:
    """Its ``expires_at`` passes while it stands aside; ``cancel`` finds it there."""
    fill(store, 2, expires_at=store.clock.wall + 60)
    pause(store)
    assert store.do(operations.cancel, "november-0000", "by hand")
    store.clock.advance(60)
    assert store.do(housekeeping.expire) == ["november-0001"]
    assert states(store) == {"cancelled": 1, "dead": 1}


def test_a_late_reply_to_a_parked_resend_ends_it(store: Store) -> None:
    """The first attempt was accepted after all: it must not be sent again on resume."""
    fill(store, 1)
    claim = store.claim(LIMIT)
    store.begin(claim)
    store.do(workers.bury, "w1")
    store.clock.advance(600)
    store.do(housekeeping.resend_unknown)
    pause(store)
    assert not store.settle(claim)
    assert states(store) == {"sent": 1}


def test_lines_of_several_users_are_told_of_what_came_back(store: Store) -> None:
    """Each line knows when its first job is due."""
    fill(store, 1)
    bob = Lane("acme", "bob", "batch")
    store.accept("of-bob", batch_id="november", batch_index=5, user="bob", due_at=3.0)
    pause(store)
    assert isinstance(store.take(), Nothing)
    assert isinstance(store.take(lane=bob), Nothing)
    resume(store)
    assert set(store.do(lanes.due_lanes)[0]) == {LANE, bob}


@pytest.mark.parametrize(
    "statement", [batches._PAUSED, batches._CANCELLABLE, housekeeping._EXPIRED]
)
def test_no_step_reads_the_whole_ledger(statement: TextClause) -> None:
    """On SQLite each walks an index, and none sorts: its cost does not depend on the depth."""
    named = {"company": "acme", "batch_id": "november", "step": 500, "now": 0.0}
    used = {name: value for name, value in named.items() if f":{name}" in statement.text}
    ledger = InMemory()
    explain = text(f"EXPLAIN QUERY PLAN {statement.text}")
    plan = " ".join(row.detail for row in ledger.connection.execute(explain, used))
    ledger.close()
    assert "USING INDEX delivery_" in plan or "USING COVERING INDEX delivery_" in plan
    assert "TEMP B-TREE" not in plan
    assert "SCAN" not in plan
