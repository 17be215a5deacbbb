"""The pytest fixtures of a private PostgreSQL, one for the whole run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.support.postgresql import MISSING, PostgresServer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresServer]:
    """A running private server; skips where there is none to start, but fails in CI."""
    if not PostgresServer.available():
        if os.environ.get("CI"):
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    with PostgresServer() as server:
        yield server


@pytest.fixture
def postgresql_url(postgresql: PostgresServer) -> Iterator[str]:
    """The URL of an empty database of this test's own, dropped afterwards."""
    url = postgresql.new_database()
    yield url
    postgresql.drop_database(url)
