"""Logins in the ledger: one row an account, written back only over the version that was read."""

from __future__ import annotations

import pytest

from tests.support.ledger import Store
from worker.ledger import holds, logins

JANE = "credential:acme/jane#00000000"
JOHN = "credential:acme/john#00000000"


@pytest.fixture
def store() -> Store:
    """An empty ledger."""
    return Store()


def sign_in(store: Store, account: str, cache: bytes, held: tuple[str, ...] = ()) -> None:
    """Let a person sign in."""
    store.do(lambda c, now: logins.sign_in(c, now, account, cache, held=held))


def find(store: Store, account: str) -> logins.Login | None:
    """What the ledger has."""
    return store.do(lambda c, _: logins.find(c, account))


def version(store: Store) -> int:
    """That of jane's login."""
    found = find(store, "acme/jane")
    assert found is not None
    return found.version


def test_nobody_has_signed_in_at_first(store: Store) -> None:
    """An account without a login has none, and forgetting it changes nothing."""
    assert find(store, "acme/jane") is None
    assert not store.do(lambda c, _: logins.forget(c, "acme/jane"))


def test_a_later_login_replaces_the_first(store: Store) -> None:
    """Signing in again counts the version on; another account's login stays."""
    sign_in(store, "acme/john", b"\x00john")
    sign_in(store, "acme/jane", b"\x00one")
    first = version(store)
    sign_in(store, "acme/jane", b"\xfftwo")
    assert find(store, "acme/jane") == logins.Login(b"\xfftwo", first + 1, store.clock.wall)
    assert find(store, "acme/john") == logins.Login(b"\x00john", first, store.clock.wall)


def test_a_worker_does_not_undo_a_login_after_a_forgotten_one(store: Store) -> None:
    """Somebody else has signed in since: the new login has a version that none before it had."""
    sign_in(store, "acme/jane", b"before")
    old = version(store)
    assert store.do(lambda c, _: logins.forget(c, "acme/jane"))
    store.clock.advance(5)
    sign_in(store, "acme/jane", b"somebody else")
    assert not store.do(lambda c, now: logins.replace(c, now, "acme/jane", b"old", version=old))


def test_of_two_workers_that_refresh_the_first_wins(store: Store) -> None:
    """Compare-and-set: a worker writes over what it has read, and over nothing else."""
    sign_in(store, "acme/jane", b"one")
    read = version(store)
    assert store.do(lambda c, now: logins.replace(c, now, "acme/jane", b"two", version=read))
    assert not store.do(lambda c, now: logins.replace(c, now, "acme/jane", b"late", version=read))
    assert find(store, "acme/jane") == logins.Login(b"two", read + 1, store.clock.wall)


def test_a_worker_does_not_undo_a_person(store: Store) -> None:
    """What was refreshed from the login before is not written over a new login, nor after forget."""
    sign_in(store, "acme/jane", b"before")
    before = version(store)
    sign_in(store, "acme/jane", b"after")
    after = version(store)
    assert not store.do(lambda c, now: logins.replace(c, now, "acme/jane", b"old", version=before))
    assert store.do(lambda c, _: logins.forget(c, "acme/jane"))
    assert not store.do(lambda c, now: logins.replace(c, now, "acme/jane", b"old", version=after))
    assert find(store, "acme/jane") is None


def test_signing_in_ends_the_hold_in_the_same_transaction(store: Store) -> None:
    """The account's hold ends with the login; another account's does not."""
    store.do(lambda c, now: holds.put_hold(c, now, JANE, "signed out"))
    store.do(lambda c, now: holds.put_hold(c, now, JOHN, "signed out"))
    sign_in(store, "acme/jane", b"one", held=(JANE,))
    assert [hold.target for hold in store.do(lambda c, _: holds.all_holds(c))] == [JOHN]
