"""What people ask of the ledger: each question, on rows made by the ledger's own operations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from producers.emails import Email
from producers.identity import uuid7
from tests.support.clock import FakeClock
from tests.support.ledger import LANE, LOST, Store, deferred
from worker.errors import LedgerUnusable
from worker.gates import Opening
from worker.ledger import care, operations, overview, queries, upgrade, workers
from worker.ledger.lanes import Lane
from worker.ledger.ledger import Ledger
from worker.ledger.newcomers import row_of
from worker.ledger.openings import openings_of
from worker.ledger.queries import Selection
from worker.ledger.rows import UNREADABLE, State
from worker.pace import Limit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BETA = Lane("beta", "", "batch")
SIXTY = Limit("company:acme", 60, even=False)


@pytest.fixture
def store() -> Iterator[Store]:
    """An empty ledger with a worker."""
    opened = Store()
    opened.register("w1")
    yield opened
    opened.close()


def dead(store: Store, *job_ids: str, reason: str = "550 no such user", **changes: str) -> None:
    """Put dead jobs into the ledger."""
    store.accept(*job_ids, state=State.DEAD, reason=reason, **changes)


def test_a_job_is_found_with_everything_known_of_it(store: Store) -> None:
    """One row becomes one record; an unknown id is None."""
    store.accept("a", subject="Hello", batch_id="november", batch_index=4)
    found = store.do(lambda c, _: queries.find_job(c, "a"))
    assert found is not None
    assert (found.lane, found.state, found.subject) == (LANE, State.WAITING, "Hello")
    assert (found.batch_id, found.seq, found.recipients) == ("november", 4, ())
    assert store.do(lambda c, _: queries.find_job(c, "b")) is None
    assert store.do(lambda c, _: queries.state_of(c, "a")) is State.WAITING
    assert store.do(lambda c, _: queries.state_of(c, "b")) is None


def test_attempts_are_listed_in_their_order(store: Store) -> None:
    """A deferred attempt and one under way are both told, the first one first."""
    claim = store.in_data("a")
    store.settle(claim, deferred(store.clock.wall))
    store.begin(store.claim())
    first, second = store.do(lambda c, _: queries.attempts_of(c, "a"))
    assert (first.n, first.outcome) == (1, "deferred")
    assert (second.n, second.outcome, second.ended_at) == (2, "", None)


def test_a_selection_goes_by_company_and_by_words_of_the_reason(store: Store) -> None:
    """Case does not matter; what looks like a pattern is taken as it is written."""
    dead(store, "a", reason="550 No Such User")
    dead(store, "b", reason="100% full_mailbox")
    dead(store, "c", reason="1000 fullXmailbox", company="beta")

    def ids(company: str | None = None, reason: str = "") -> list[str]:
        wanted = Selection(State.DEAD, company, reason)
        found = store.do(lambda c, _: queries.ids_of(c, wanted))
        assert store.do(lambda c, _: queries.count_jobs(c, wanted)) == len(found)
        return sorted(found)

    assert ids() == ["a", "b", "c"]
    assert ids(company="beta") == ["c"]
    assert ids(reason="such user") == ["a"]
    assert ids(reason="100%") == ["b"]
    assert ids(reason="full_mailbox") == ["b"]


def test_a_list_begins_with_what_changed_last_and_ends_where_it_is_told(store: Store) -> None:
    """The newest of the dead come first, no more than asked for."""
    for job_id in ("a", "b", "c"):
        dead(store, job_id)
        store.clock.advance(1)
    found = store.do(lambda c, _: queries.list_jobs(c, Selection(State.DEAD), most=2))
    assert [each.job_id for each in found] == ["c", "b"]


def test_a_rival_is_whoever_took_over_a_dead_jobs_key(store: Store) -> None:
    """Only a living job of the same company, kind and key is one."""
    dead(store, "a", idempotency_key="k")
    dead(store, "b", idempotency_key="other")
    assert store.do(lambda c, _: queries.rival_of(c, "a")) is None
    store.accept("c", idempotency_key="k")
    assert store.do(lambda c, _: queries.rival_of(c, "a")) == "c"
    assert store.do(lambda c, _: queries.rival_of(c, "b")) is None


def test_batches_of_the_same_name_are_told_apart_by_company(store: Store) -> None:
    """Counts and the last to leave are each company's own."""
    for index, job_id in enumerate(("a", "b", "c")):
        store.accept(job_id, batch_id="november", batch_index=index)
    store.accept("x", batch_id="november", batch_index=0, company="beta", user="")
    store.do(operations.cancel, "a", "by hand")
    counts = store.do(lambda c, _: queries.batch_counts(c, "november"))
    assert counts == {
        "acme": {State.CANCELLED: 1, State.WAITING: 2},
        "beta": {State.WAITING: 1},
    }
    (last,) = store.do(lambda c, _: queries.last_of_batch(c, "acme", "november"))
    assert last.job_id == "c"
    assert store.do(lambda c, _: queries.last_of_batch(c, "acme", "december")) == []


def test_the_last_of_a_batch_may_be_one_that_is_tried_again(store: Store) -> None:
    """A back-off may end after the last first attempt: both are told."""
    for index, job_id in enumerate(("a", "b", "c")):
        store.accept(job_id, batch_id="november", batch_index=index)
    claim = store.claim()
    store.begin(claim)
    store.settle(claim, deferred(store.clock.wall + 900))
    found = store.do(lambda c, _: queries.last_of_batch(c, "acme", "november"))
    assert [job.job_id for job in found] == ["c", "a"]


def test_the_window_of_a_batch_counts_acceptances_of_the_last_minute(store: Store) -> None:
    """What is older than the window, or of another batch, is not in it."""
    store.accept("a", batch_id="november", batch_index=0)
    claim = store.claim()
    store.begin(claim)
    store.settle(claim)
    store.settle(store.in_data("b"))

    def window() -> int:
        return store.do(queries.batch_window, "acme", "november", window_seconds=60.0)

    store.clock.advance(59)
    assert window() == 1
    store.clock.advance(2)
    assert window() == 0


def test_lanes_tell_what_is_due_and_leave_out_what_nobody_can_read(store: Store) -> None:
    """A later date counts as waiting, not as due; unreadable rows stand in no line."""
    now = store.clock.wall
    store.accept("a", due_at=now - 1)
    store.accept("b", due_at=now + 60)
    store.accept("raw", kind=UNREADABLE, company="_system", user="")
    (lane,) = store.do(overview.lanes_with_work)
    assert (lane.lane, lane.waiting, lane.due, lane.first_due_at) == (LANE, 2, 1, now - 1)
    assert store.do(lambda c, _: overview.unreadable_waiting(c)) == 1


def test_what_does_not_wait_is_counted_by_company(store: Store) -> None:
    """In hand, dead and unknown, each under its company."""
    dead(store, "a")
    dead(store, "b", company="beta")
    store.settle(store.in_data("c"), LOST)
    store.in_data("d")
    found = store.do(lambda c, _: overview.others_by_company(c))
    assert found == {
        "acme": {State.DEAD: 1, State.UNKNOWN: 1, State.DATA: 1},
        "beta": {State.DEAD: 1},
    }


def test_acceptances_are_counted_by_lane(store: Store) -> None:
    """Only what a server accepted within the window."""
    store.settle(store.in_data("a"))
    store.settle(store.in_data("b"), LOST)
    accepted = store.do(overview.accepted_by_lane, window_seconds=60.0)
    assert accepted == {LANE: overview.Accepted(1, 0.0)}
    store.clock.advance(61)
    assert store.do(overview.accepted_by_lane, window_seconds=60.0) == {}


def test_a_silent_worker_is_not_alive(store: Store) -> None:
    """A worker is alive while its last beat is younger than the time after which it is buried."""
    store.clock.advance(workers.DEAD_AFTER_SECONDS + 1)
    store.register("w2")
    found = {each.id: each.alive for each in store.do(overview.all_workers)}
    assert found == {"w1": False, "w2": True}


def test_before_a_job_go_earlier_ones_and_retries_that_are_due(store: Store) -> None:
    """Order within a lane: what was tried and is due, then by date, then by sequence."""
    now = store.clock.wall
    for index, job_id in enumerate(("a", "b", "c", "d")):
        store.accept(job_id, batch_id="n", batch_index=index, due_at=now)
    store.accept("later", due_at=now + 60)

    def before(job_id: str) -> int:
        job = store.do(lambda c, _: queries.find_job(c, job_id))
        assert job is not None
        return sum(arrival.emails for arrival in store.do(overview.ahead_in_lane, job))

    assert [before(job_id) for job_id in ("a", "c", "later")] == [0, 2, 4]
    claim = store.claim()
    store.begin(claim)
    store.settle(claim, deferred(now - 1))
    assert [before(job_id) for job_id in ("a", "b", "d")] == [0, 1, 3]


def test_what_becomes_due_later_is_told_by_line_and_time(store: Store) -> None:
    """Emails of the same minute are one arrival; what is due now is none."""
    now = store.clock.wall
    store.accept("a", due_at=now)
    store.accept("b", "c", due_at=now + 600)
    store.accept("d", due_at=now + 610)
    store.accept("e", due_at=now + 9_000)
    store.accept("f", due_at=now + 30, company="beta", user="")
    assert store.do(overview.later_by_lane) == {
        LANE: [overview.Arrival(600.0, 3), overview.Arrival(9_000.0, 1)],
        BETA: [overview.Arrival(30.0, 1)],
    }


def test_replies_that_take_long_are_told(store: Store) -> None:
    """From begin to the reply, on average over what was accepted."""
    for job_id, seconds in (("a", 2.0), ("b", 4.0)):
        claim = store.in_data(job_id)
        store.clock.advance(seconds)
        store.settle(claim)
    accepted = store.do(overview.accepted_by_lane, window_seconds=60.0)
    assert accepted[LANE] == overview.Accepted(2, 3.0)


def test_openings_say_when_slots_come_free(store: Store) -> None:
    """Nothing for an unused scope; a window after the reply where slots rest; in hand, a window."""
    three = Limit("company:acme", 3, even=False)

    def opening() -> Opening:
        (found,) = store.do(openings_of, [three])
        return found

    assert opening() == Opening(three, free=3)
    store.settle(store.in_data("a", three))
    store.clock.advance(10)
    store.in_data("b", three)
    assert opening() == Opening(three, free=1, releases=((50.0, 1), (60.0, 1)))
    store.clock.advance(50)
    assert opening().free == 2


def test_an_even_limit_opens_with_its_gap(store: Store) -> None:
    """Where mail leaves evenly the next one waits for the gap."""
    even = Limit("company:acme", 30)
    store.settle(store.in_data("a", even))
    (found,) = store.do(openings_of, [even])
    assert 0.9 < found.wait_seconds <= 2.0


def test_a_sound_ledger_has_no_problems_and_a_broken_one_is_told(store: Store) -> None:
    """Each fault is one line with its count."""
    store.accept("a", "b")
    assert store.do(care.check).problems == ()
    assert store.do(care.check).jobs == {State.WAITING: 2}
    store.change("UPDATE delivery SET body = NULL WHERE job_id = 'a'")
    store.change("UPDATE lane SET next_due_at = NULL")
    store.change("UPDATE delivery SET worker = 'ghost' WHERE job_id = 'b'")
    store.accept("c", state=State.DRAFTED)
    store.change("INSERT INTO draft (job_id, made_at) VALUES ('x', 0), ('y', 0)")
    assert store.do(care.check).problems == (
        "jobs that are not final have lost their body: 1",
        "drafted jobs have no draft: 1",
        "drafts belong to a job that is not there: 2",
        "jobs are in the hands of a worker that is not there: 1",
        "waiting jobs stand in a line that does not know of them: 1",
    )


def test_a_ledger_with_workers_at_work_is_not_upgraded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tables must not change under a worker; once it is silent, they may."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    clock = FakeClock()
    assert care.upgrade_ledger(url, clock)[0] is None
    ledger = Ledger(url, clock)
    ledger.call(lambda c, now: workers.register(c, now, "w1", host="h", pid=1, version="1"))
    ledger.close()
    assert care.upgrade_ledger(url, clock) == (upgrade.newest_version(),) * 2  # nothing to change
    monkeypatch.setattr(care, "newest_version", lambda: "9999")
    with pytest.raises(LedgerUnusable, match=r"1 worker\(s\) are at work"):
        care.upgrade_ledger(url, clock)
    clock.advance(workers.DEAD_AFTER_SECONDS + 1)
    before, after = care.upgrade_ledger(url, clock)
    assert before == after


def test_a_jobs_row_says_where_it_waits_and_until_when() -> None:
    """The system's own jobs stand under ``_system``; without send_at a job is due at once."""
    email = Email("a@example.org", "Hello", text="Hi")
    job = email.to_job("batch", uuid7(), company=None, user=None, batch=("november", 3))
    row = row_of(job, b"envelope", 1_800_000_000.0)
    assert (row.company, row.user, row.kind) == ("_system", "", "batch")
    assert (row.due_at, row.batch_id, row.batch_index) == (1_800_000_000.0, "november", 3)
    assert (row.body, row.fingerprint) == (b"envelope", job.fingerprint())
