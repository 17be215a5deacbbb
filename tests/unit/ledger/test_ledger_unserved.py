"""Lines that no settings serve: told in steps, ended by age, asked for news in one statement."""

from __future__ import annotations

import pytest

from tests.support.ledger import LANE, Store
from worker.ledger import housekeeping, unserved
from worker.ledger.lanes import Lane
from worker.ledger.unserved import HEAD, Place, Places

REASON = "no company acme"


@pytest.fixture
def store() -> Store:
    """An empty ledger with one worker."""
    return Store()


def test_each_due_job_is_told_once(store: Store) -> None:
    """The sentence stands on the lane's due jobs; behind the place reached only news is read."""
    store.accept("a", "b")
    store.accept("elsewhere", user="zoe")
    store.accept("tomorrow", due_at=store.clock.wall + 86_400)
    walked = store.do(unserved.walk, LANE, REASON)
    assert (walked.more, walked.places.retry) == (False, HEAD)
    assert [store.row(job).reason for job in ("a", "b", "elsewhere", "tomorrow")] == [
        *(REASON, REASON),
        *("", ""),
    ]
    store.clock.advance(1)
    store.accept("c", due_at=store.clock.wall)
    again = store.do(unserved.walk, LANE, "another reason", walked.places)
    assert store.row("c").reason == "another reason"
    assert store.row("a").reason == REASON
    assert again.places.first.job_id == "c"


def test_a_walk_is_made_in_steps(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each transaction looks at a few jobs, and says whether more stand behind."""
    monkeypatch.setattr(unserved, "STEP", 2)
    store.accept("a", "b", "c")
    first = store.do(unserved.walk, LANE, REASON)
    assert first.more
    second = store.do(unserved.walk, LANE, REASON, first.places)
    assert not second.more
    assert {store.row(job).reason for job in "abc"} == {REASON}


def test_the_oldest_walked_past_is_known(store: Store) -> None:
    """It says when the next wait ends, so that nobody has to look before."""
    began = store.clock.wall
    store.accept("a")
    store.clock.advance(60)
    store.accept("b")
    assert store.do(unserved.walk, LANE, REASON).oldest_at == pytest.approx(began)
    assert store.do(unserved.walk, LANE._replace(user="nobody"), REASON).oldest_at is None


def test_only_old_jobs_are_ended(store: Store) -> None:
    """An unknown company's mail is dead after its quarter of an hour, younger mail waits."""
    store.accept("old")
    store.clock.advance(900)
    store.accept("young")
    young_at = store.clock.wall
    store.accept("elsewhere", company="umbrella")
    ended = store.do(unserved.end_old, LANE, REASON, older_than_seconds=900)
    assert ended.job_ids == ["old"]
    assert ended.oldest_at == pytest.approx(young_at)
    assert (store.state("old"), store.row("old").reason) == ("dead", REASON)
    assert (store.state("young"), store.state("elsewhere")) == ("waiting", "waiting")
    assert not store.do(housekeeping.kill_waiting, "old", "again")


def test_a_line_that_has_ended_is_due_no_more(store: Store) -> None:
    """Nothing is left in it, so that nobody meets it again."""
    store.accept("old")
    store.clock.advance(900)
    assert store.do(unserved.end_old, LANE, REASON, older_than_seconds=900).oldest_at is None
    assert store.do(lambda c, _: list(c.exec_driver_sql("SELECT next_due_at FROM lane"))) == [
        (None,)
    ]


def test_lanes_with_news_are_found_in_one_statement(store: Store) -> None:
    """News is what is due behind a place, among the retries and among the rest."""
    zoe = Lane(LANE.company, "zoe", LANE.kind)
    none = Lane("nobody", "x", LANE.kind)
    store.accept("a")
    store.accept("z", user="zoe")
    at = store.clock.wall
    past = Places(HEAD, Place(at + 1, 0, ""))
    reached = {LANE: past, zoe: Places(), none: Places()}
    assert store.do(unserved.with_news, reached) == [zoe]
    store.change("UPDATE delivery SET prio = 0 WHERE job_id = 'a'")
    assert set(store.do(unserved.with_news, reached)) == {LANE, zoe}
    store.change("UPDATE delivery SET due_at = 1e12")
    assert store.do(unserved.with_news, reached) == []
    assert store.do(unserved.with_news, {}) == []
