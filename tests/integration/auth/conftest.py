"""An authority for each test, and a process's tokens over a ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.authority import Authority
from tests.support.tokens import Desk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def certificate_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the authorities of a module have one certificate."""
    return tmp_path_factory.mktemp("authority")


@pytest.fixture
def authority(certificate_folder: Path) -> Iterator[Authority]:
    """One that knows one application, by a secret."""
    with Authority(certificate_folder) as authority:
        yield authority


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A ledger, and tokens over it."""
    with Desk(tmp_path / "desk") as desk:
        yield desk
