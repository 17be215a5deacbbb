"""The tests of this folder run on either database; see ``tests.support.databases``."""

from __future__ import annotations

import os

import pytest

from tests.support.databases import ON_POSTGRESQL
from tests.support.postgresql import MISSING, PostgresServer


@pytest.fixture(autouse=True, scope="session")
def _server_is_there() -> None:
    """Skip where PostgreSQL was asked for and is not installed, but fail in CI."""
    if ON_POSTGRESQL and not PostgresServer.available():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(MISSING)
