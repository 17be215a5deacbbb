"""Holds: one probe at a time, a back-off between probes, and an end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.ledger import Store
from worker.ledger import holds

if TYPE_CHECKING:
    from worker.ledger.holds import Hold

SERVER = "server:mx.example.nz:25"
ACCOUNT = "account:acme/jane"


@pytest.fixture
def store() -> Store:
    """A ledger with one hold."""
    store = Store()
    store.do(holds.put_hold, SERVER, "connect refused")
    return store


def only_hold(store: Store) -> Hold:
    """Read the one hold there is."""
    (hold,) = store.do(lambda c, _: holds.all_holds(c))
    return hold


def probe(store: Store, *targets: str, token: str = "t", worker: str = "w1") -> bool:  # noqa: S107 - a claim, no password
    """Try to win the right to probe."""
    return store.do(holds.start_probes, targets or (SERVER,), worker=worker, token=token)


def test_a_new_hold_is_first_probed_after_its_pause(store: Store) -> None:
    """Reason, beginning and first probe are on record; nobody probes before."""
    hold = only_hold(store)
    assert (hold.target, hold.reason, hold.since_at) == (
        SERVER,
        "connect refused",
        store.clock.wall,
    )
    assert hold.next_probe_at == store.clock.wall + holds.FIRST_PROBE_SECONDS
    assert not probe(store)
    store.clock.advance(holds.FIRST_PROBE_SECONDS)
    assert probe(store)


def test_the_servers_own_wish_sets_the_first_probe(store: Store) -> None:
    """A server that says when to come again is heard."""
    store.do(holds.put_hold, ACCOUNT, "421 later", probe_after_seconds=90.0)
    store.clock.advance(89)
    assert not probe(store, ACCOUNT)
    store.clock.advance(1)
    assert probe(store, ACCOUNT)


def test_one_probes_at_a_time(store: Store) -> None:
    """The right is won by one, and can be won again once it was given back."""
    store.clock.advance(5)
    assert probe(store)
    assert not probe(store, token="u", worker="w2")
    store.do(lambda c, _: holds.end_probes(c, "t"))
    assert probe(store, token="u", worker="w2")


def test_a_probe_of_several_targets_wins_all_or_none(store: Store) -> None:
    """Where one target's right is not to be had, no other's is kept."""
    store.clock.advance(5)
    store.do(holds.put_hold, ACCOUNT, "432 later")
    assert not probe(store, SERVER, ACCOUNT)
    assert probe(store, SERVER, token="u")


def test_a_target_that_is_not_held_cannot_be_probed(store: Store) -> None:
    """A hold that ended meanwhile leaves nothing to try out."""
    assert not probe(store, ACCOUNT)


def test_failed_probes_wait_longer_each_time(store: Store) -> None:
    """The pause doubles up to five minutes, however often it fails."""
    pauses = []
    for number in range(1_100):
        store.clock.advance(holds.LONGEST_PROBE_SECONDS)
        assert probe(store, token=f"t{number}")
        store.do(holds.put_hold, SERVER, "still refused", token=f"t{number}")
        pauses.append(only_hold(store).next_probe_at - store.clock.wall)
    assert pauses[:7] == [10, 20, 40, 80, 160, 300, 300]
    assert set(pauses[7:]) == {holds.LONGEST_PROBE_SECONDS}
    assert only_hold(store).failures == 1_101


def test_the_servers_wish_can_only_lengthen_a_pause(store: Store) -> None:
    """A failed probe waits at least the back-off."""
    store.clock.advance(5)
    probe(store)
    store.do(holds.put_hold, SERVER, "421", token="t", probe_after_seconds=1.0)
    assert only_hold(store).next_probe_at == store.clock.wall + 10
    store.clock.advance(10)
    probe(store, token="u")
    store.do(holds.put_hold, SERVER, "421", token="u", probe_after_seconds=120.0)
    assert only_hold(store).next_probe_at == store.clock.wall + 120


def test_further_failures_change_only_the_reason(store: Store) -> None:
    """Deliveries that were under way when the hold began do not lengthen it."""
    store.do(holds.put_hold, SERVER, "time-out", token="no probe")
    hold = only_hold(store)
    assert (hold.reason, hold.failures) == ("time-out", 1)
    assert hold.next_probe_at == store.clock.wall + holds.FIRST_PROBE_SECONDS


def test_a_probe_that_works_ends_its_holds(store: Store) -> None:
    """All that it tried out, and nothing that another tries out."""
    store.do(holds.put_hold, ACCOUNT, "432 later")
    store.clock.advance(5)
    probe(store, SERVER)
    probe(store, ACCOUNT, token="u")
    assert store.do(lambda c, _: holds.clear_probed(c, "t")) == 1
    assert only_hold(store).target == ACCOUNT


def test_clear_hold_says_whether_there_was_one(store: Store) -> None:
    """A changed credential ends its hold at once; a second word changes nothing."""
    assert store.do(lambda c, _: holds.clear_hold(c, SERVER))
    assert not store.do(lambda c, _: holds.clear_hold(c, SERVER))
