"""A ledger's file that is gone: nothing is written into it, and no new one takes its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from worker.errors import LedgerUnavailable
from worker.ledger import overview, workers
from worker.ledger.care import write_trouble
from worker.ledger.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger that is open, with one worker."""
    ledger = Ledger(url(tmp_path))
    ledger.call(lambda c, now: workers.register(c, now, "w1", host="h", pid=1, version="1"))
    yield ledger
    ledger.close()


def url(folder: Path) -> str:
    """The address of the ledger in a folder."""
    return f"sqlite:///{folder / 'ledger.db'}"


def beat(ledger: Ledger) -> None:
    """Write something that needs what was there before."""
    ledger.call(lambda c, now: workers.beat(c, now, "w1"))


def test_a_file_that_was_moved_away_is_missed(ledger: Ledger, tmp_path: Path) -> None:
    """Neither a write nor a read succeeds, nor does another opening make an empty ledger."""
    (tmp_path / "ledger.db").rename(tmp_path / "aside.db")
    with pytest.raises(LedgerUnavailable, match="was removed or replaced"):
        beat(ledger)
    with pytest.raises(LedgerUnavailable, match="was removed or replaced"):
        ledger.read(lambda c, _: workers.processes(c))
    with pytest.raises(LedgerUnavailable, match="was removed or replaced"):
        Ledger(url(tmp_path))
    assert "was removed or replaced" in write_trouble(url(tmp_path))
    assert not (tmp_path / "ledger.db").exists()


def test_a_file_that_is_put_back_is_used_again(ledger: Ledger, tmp_path: Path) -> None:
    """No restart is needed, and what was written is there."""
    (tmp_path / "ledger.db").rename(tmp_path / "aside.db")
    with pytest.raises(LedgerUnavailable):
        beat(ledger)
    (tmp_path / "aside.db").rename(tmp_path / "ledger.db")
    beat(ledger)
    assert [worker.id for worker in ledger.read(overview.all_workers)] == ["w1"]


def test_a_file_in_its_place_is_noticed(ledger: Ledger, tmp_path: Path) -> None:
    """A copy put there while it was open, such as a backup: the connections to the old one end."""
    beat(ledger)
    (tmp_path / "copy.db").write_bytes((tmp_path / "ledger.db").read_bytes())
    (tmp_path / "copy.db").replace(tmp_path / "ledger.db")
    with pytest.raises(LedgerUnavailable):
        beat(ledger)


def test_who_only_looks_makes_neither_folder_nor_file(tmp_path: Path) -> None:
    """Where no worker has been yet, or the whole state was moved away before this process began."""
    missing = tmp_path / "state"
    assert "there is no ledger" in write_trouble(url(missing))
    with pytest.raises(LedgerUnavailable, match="there is no ledger"):
        Ledger(url(missing), must_exist=True)
    assert not missing.exists()


def test_a_folder_that_was_moved_away_is_not_made_anew(tmp_path: Path) -> None:
    """Else it would be put back inside the new one: probes and openings leave its place empty."""
    state = tmp_path / "state"
    Ledger(url(state)).close()
    state.rename(tmp_path / "aside")
    assert "was removed or replaced" in write_trouble(url(state))
    with pytest.raises(LedgerUnavailable, match="was removed or replaced"):
        Ledger(url(state))
    assert not state.exists()
    (tmp_path / "aside").rename(state)
    assert write_trouble(url(state)) == ""
