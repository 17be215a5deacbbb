"""Housekeeping: dates pass, unknowns are sent again once, old rows go."""

from __future__ import annotations

import pytest

from tests.support.ledger import ENVELOPE, LANE, LOST, Store
from worker.ledger import holds, housekeeping, lanes, pauses, workers
from worker.pace import Limit

LIMIT = Limit("company:acme", 9, even=False)
MONTH = 30 * 86_400.0


@pytest.fixture
def store() -> Store:
    """A ledger with one worker."""
    store = Store()
    store.register("w1")
    return store


def test_what_expires_while_it_waits_is_dead(store: Store) -> None:
    """It keeps its body, says why, and applications are told; others go on waiting."""
    store.accept("a", expires_at=store.clock.wall + 60)
    store.accept("b", expires_at=store.clock.wall + 61)
    store.accept("c")
    store.clock.advance(60)
    assert store.do(housekeeping.expire) == ["a"]
    row = store.row("a")
    assert (row.state, row.body, row.event) == ("dead", ENVELOPE, "dead")
    assert row.reason == "expired: expires_at passed before it could be sent"
    assert (store.state("b"), store.state("c")) == ("waiting", "waiting")


def test_what_is_in_data_does_not_expire(store: Store) -> None:
    """What may be on its way is left to its reply."""
    store.accept("a", expires_at=store.clock.wall + 1)
    claim = store.claim(LIMIT)
    store.begin(claim)
    store.clock.advance(2)
    assert store.do(housekeeping.expire) == []
    assert store.settle(claim)


def test_what_may_have_been_sent_does_not_expire_as_dead(store: Store) -> None:
    """It is left to its line, whose claim says that a reply never came."""
    store.accept("a", expires_at=store.clock.wall + 1)
    store.begin(store.claim(LIMIT), on_unknown="resend")
    store.do(workers.bury, "w1")
    store.register("w1")
    store.clock.advance(10_000)
    assert store.do(housekeeping.resend_unknown) == ["a"]
    assert store.do(housekeeping.expire) == []
    assert store.claim(LIMIT).perhaps_sent


def test_an_unknown_job_is_sent_again_once_and_then_held(store: Store) -> None:
    """Not before its time, once, in front of its lane; the second unknown waits for a person."""
    claim = store.in_data("a", LIMIT, resend_after_seconds=600.0)
    store.do(workers.bury, "w1")
    store.register("w2")
    store.clock.advance(599)
    assert store.do(housekeeping.resend_unknown) == []
    store.clock.advance(1)
    assert store.do(housekeeping.resend_unknown) == ["a"]
    assert store.do(lanes.due_lanes)[0] == [LANE]
    again = store.claim(LIMIT, worker="w2")
    assert again.attempts == claim.attempts + 1
    store.begin(again, worker="w2")
    store.settle(again, LOST)
    store.clock.advance(10_000)
    assert store.do(housekeeping.resend_unknown) == []
    assert (store.state("a"), store.row("a").body) == ("unknown", ENVELOPE)


@pytest.mark.parametrize(("choice", "again"), [("hold", []), ("verify", ["a"]), ("resend", ["a"])])
def test_what_is_held_waits_for_a_person(store: Store, choice: str, again: list[str]) -> None:
    """Where the settings say hold an unknown job stays as it is; to verify is to try it once more."""
    store.in_data("a", LIMIT, on_unknown=choice)
    store.do(workers.bury, "w1")
    store.clock.advance(10_000)
    assert store.do(housekeeping.resend_unknown) == again
    store.clock.advance(10_000)
    assert store.do(housekeeping.resend_unknown) == []


def test_pruning_takes_old_final_rows_with_their_attempts(store: Store) -> None:
    """In steps; what is young, not final, or has an event to publish stays."""
    for job_id in ("sent", "untold"):
        store.settle(store.in_data(job_id, LIMIT))
    store.settle(store.in_data("unknown", LIMIT), LOST)
    store.change("UPDATE delivery SET event = NULL WHERE job_id <> 'untold'")
    store.clock.advance(MONTH)
    store.settle(store.in_data("young", LIMIT))
    store.accept("waiting")
    assert store.do(housekeeping.prune, older_than_seconds=MONTH) == 1
    assert store.do(housekeeping.prune, older_than_seconds=MONTH) == 0
    left = {job_id for (job_id,) in store.query("SELECT job_id FROM delivery")}
    assert left == {"untold", "unknown", "waiting", "young"}
    assert {job for (job,) in store.query("SELECT job_id FROM attempt")} == left - {"waiting"}


def test_pruning_leaves_no_attempts_behind(store: Store) -> None:
    """However many attempts a job had, they go with its row, step by step."""
    store.change(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1200)"
        " INSERT INTO delivery (job_id, seq, company, user_id, kind, fingerprint, state, prio,"
        " due_at, enqueued_at, accepted_at, updated_at)"
        " SELECT 'j' || i, i, 'acme', 'jane', 'batch', '', 'sent', 1, 0, 0, 0, 0 FROM n"
    )
    for n in (1, 2, 3):
        store.change(
            "INSERT INTO attempt (job_id, n, company, user_id, kind, worker, begun_at)"
            " SELECT job_id, CAST(:n AS INTEGER), company, user_id, kind, 'w1', 0 FROM delivery",
            n=n,
        )
    pruned = [store.do(housekeeping.prune, older_than_seconds=MONTH) for _ in range(4)]
    assert pruned == [500, 500, 200, 0]
    assert store.query("SELECT count(*) FROM attempt") == [(0,)]


def test_one_round_does_everything(store: Store) -> None:
    """Dead workers, dates, unknowns and holds in one transaction."""
    store.do(pauses.pause, "all", held_by="ann", until_at=store.clock.wall + 5)
    store.accept("expired", expires_at=store.clock.wall + 5)
    store.clock.advance(20)
    kept = store.do(housekeeping.keep)
    assert (kept.reaped.workers, kept.expired, kept.resent) == (("w1",), ["expired"], [])
    assert store.do(lambda c, _: holds.all_holds(c)) == []
