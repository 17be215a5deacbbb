"""Pauses: a person's word stands beside feedback's on one target, and ends in its own ways."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.ledger import Store
from worker.ledger import holds, pauses

if TYPE_CHECKING:
    from worker.ledger.holds import Hold

SERVER = "server:mx.example.nz:25"


@pytest.fixture
def store() -> Store:
    """An empty ledger."""
    return Store()


def all_holds(store: Store) -> list[Hold]:
    """Every hold there is."""
    return store.do(lambda c, _: holds.all_holds(c))


def pause(store: Store, target: str = SERVER, by: str = "ann", **more: Any) -> None:
    """Pause a target."""
    store.do(pauses.pause, target, held_by=by, **more)


def test_a_pause_says_who_why_since_and_until(store: Store) -> None:
    """Everything that ``holds`` shows is in the row."""
    pause(store, words="it moves", until_at=store.clock.wall + 60)
    (hold,) = all_holds(store)
    assert (hold.target, hold.reason, hold.held_by) == (SERVER, "paused by ann: it moves", "ann")
    assert (hold.since_at, hold.until_at) == (store.clock.wall, store.clock.wall + 60)
    assert hold.is_pause


def test_a_pause_and_a_hold_of_feedback_stand_on_one_target(store: Store) -> None:
    """Whichever came first, both are there, the pause last; each ends without the other."""
    store.do(holds.put_hold, SERVER, "connect refused")
    pause(store)
    store.do(holds.put_hold, SERVER, "timed out")
    assert [hold.reason for hold in all_holds(store)] == ["timed out", "paused by ann"]
    assert store.do(lambda c, _: holds.clear_hold(c, SERVER))
    assert not store.do(lambda c, _: holds.clear_hold(c, SERVER))
    assert [hold.reason for hold in all_holds(store)] == ["paused by ann"]


def test_no_probe_wins_a_paused_target(store: Store) -> None:
    """Neither the pause alone nor feedback's hold beside it is tried out, until the pause ends."""
    store.do(holds.put_hold, SERVER, "connect refused")
    pause(store, until_at=store.clock.wall + 3600)
    store.clock.advance(3599)
    assert not store.do(holds.start_probes, [SERVER], worker="w1", token="t")
    assert store.do(lambda c, _: holds.clear_probed(c, "t")) == 0
    store.clock.advance(1)
    assert store.do(holds.start_probes, [SERVER], worker="w1", token="t")


def test_a_probe_that_works_leaves_a_pause_that_came_meanwhile(store: Store) -> None:
    """The server works again; the person has not said that mail may go."""
    store.do(holds.put_hold, SERVER, "connect refused")
    store.clock.advance(holds.FIRST_PROBE_SECONDS)
    assert store.do(holds.start_probes, [SERVER], worker="w1", token="t")
    pause(store)
    assert store.do(lambda c, _: holds.clear_probed(c, "t")) == 1
    assert [hold.reason for hold in all_holds(store)] == ["paused by ann"]


def test_a_changed_credential_ends_feedbacks_hold_only(store: Store) -> None:
    """What a person has paused is not retired behind the person's back."""
    target = "credential:acme/jane#00000000"
    store.do(holds.put_hold, target, "535 no")
    pause(store, target)
    assert store.do(holds.retire, outdated=list) == [target]
    assert [hold.origin for hold in all_holds(store)] == [holds.Origin.OPERATOR]


def test_a_second_pause_replaces_the_first_but_not_its_beginning(store: Store) -> None:
    """The last word on end and reason counts; the target is paused since the first."""
    began = store.clock.wall
    pause(store, until_at=began + 60)
    store.clock.advance(30)
    pause(store, by="bob", words="longer")
    (hold,) = all_holds(store)
    assert (hold.held_by, hold.reason) == ("bob", "paused by bob: longer")
    assert (hold.since_at, hold.until_at) == (began, None)


def test_a_pause_after_one_that_is_over_begins_anew(store: Store) -> None:
    """Nobody was paused in between, even where the old row is still there."""
    pause(store, until_at=store.clock.wall + 60)
    store.clock.advance(90)
    pause(store)
    assert all_holds(store)[0].since_at == store.clock.wall


def test_a_pause_is_over_at_its_time_and_then_goes(store: Store) -> None:
    """It counts no more from that second on, before housekeeping has deleted it too."""
    until = store.clock.wall + 600
    pause(store, "company:acme", until_at=until)
    store.clock.advance(599)
    assert store.do(pauses.pause_on, "company:acme") is not None
    assert store.do(holds.expire_holds) == 0
    store.clock.advance(1)
    assert store.do(pauses.pause_on, "company:acme") is None
    assert store.do(holds.expire_holds) == 1
    assert all_holds(store) == []


def test_resume_ends_everything_on_a_target_and_nothing_else(store: Store) -> None:
    """Feedback's hold too; what was over already is not called resumed."""
    store.do(holds.put_hold, SERVER, "connect refused")
    pause(store)
    pause(store, "company:acme:batch", until_at=store.clock.wall + 1)
    assert len(store.do(pauses.resume, SERVER)) == 2
    assert [hold.target for hold in all_holds(store)] == ["company:acme:batch"]
    store.clock.advance(1)
    assert store.do(pauses.resume, "company:acme:batch") == []
    assert store.do(pauses.resume, "company:acme") == []
