"""The key of logins, and what is encrypted with it."""

from __future__ import annotations

import stat
import threading
from typing import TYPE_CHECKING

import pytest

from worker.auth.sealing import Sealer, Unreadable

if TYPE_CHECKING:
    from pathlib import Path

CACHE = '{"RefreshToken": {"secret": "0.AXoA-refresh"}}'


def test_what_is_sealed_comes_back_and_shows_nothing(tmp_path: Path) -> None:
    """Nothing of the token stands in what the ledger gets, and any process with the key opens it."""
    sealed = Sealer(tmp_path / "login.key").seal("acme/jane", CACHE)
    assert b"refresh" not in sealed
    assert b"jane" not in sealed
    assert Sealer(tmp_path / "login.key").open("acme/jane", sealed) == CACHE


def test_the_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    """Mode 0600; of several processes that make it at once, one does, and nothing else is left."""
    path = tmp_path / "login.key"
    sealed: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: sealed.append(Sealer(path).seal("a", CACHE)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [Sealer(path).open("a", each) for each in sealed] == [CACHE] * 8
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_row_of_another_account_is_not_taken(tmp_path: Path) -> None:
    """Whoever can write the database cannot let john send as jane."""
    sealer = Sealer(tmp_path / "login.key")
    sealed = sealer.seal("acme/jane", CACHE)
    with pytest.raises(Unreadable, match="that of another account"):
        sealer.open("acme/john", sealed)


def test_another_key_is_named(tmp_path: Path) -> None:
    """A host with a key of its own says which variable to set."""
    sealed = Sealer(tmp_path / "a.key").seal("acme/jane", CACHE)
    other = Sealer(tmp_path / "b.key")
    other.seal("acme/jane", CACHE)
    with pytest.raises(Unreadable, match="POSTMETER_LOGIN_KEY_FILE"):
        other.open("acme/jane", sealed)


def test_a_key_that_is_not_there_is_not_made_to_read(tmp_path: Path) -> None:
    """A new key opens nothing: the sentence says what to set."""
    with pytest.raises(Unreadable, match="cannot be read"):
        Sealer(tmp_path / "login.key").open("acme/jane", b"x")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [(b"short", 0o600, "holds no key"), (b"A" * 43 + b"=", 0o644, "everybody can read")],
)
def test_a_bad_key_file_is_refused(tmp_path: Path, content: bytes, mode: int, words: str) -> None:
    """One that is no key, and one that everybody can read."""
    path = tmp_path / "login.key"
    path.write_bytes(content)
    path.chmod(mode)
    with pytest.raises(Unreadable, match=words):
        Sealer(path).seal("acme/jane", CACHE)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The key cannot be made there."""
    with pytest.raises(Unreadable, match="cannot be made"):
        Sealer(tmp_path / "nowhere" / "login.key").seal("acme/jane", CACHE)
