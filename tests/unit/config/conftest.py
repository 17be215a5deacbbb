"""A settings tree for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.settings_tree import SettingsTree

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def tree(tmp_path: Path) -> SettingsTree:
    """A system with a server and one user."""
    return SettingsTree(tmp_path / "settings")
