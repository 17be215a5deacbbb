"""A desk for each test, over a copy of one empty ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.clock import FakeClock
from tests.support.fakes import Desk, open_desk
from worker.ledger.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def empty_ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger that was made and closed."""
    path = tmp_path_factory.mktemp("ledger") / "empty.db"
    Ledger(f"sqlite:///{path}", FakeClock()).close()
    return path


@pytest.fixture
def desk(empty_ledger: Path, tmp_path: Path) -> Iterator[Desk]:
    """A worker's ledger, server and clock."""
    desk = open_desk(empty_ledger, tmp_path)
    yield desk
    desk.close()
