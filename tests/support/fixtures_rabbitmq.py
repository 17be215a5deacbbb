"""The pytest fixture of a private RabbitMQ, one for the whole run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.support.rabbitmq import MISSING, RabbitServer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[RabbitServer]:
    """A running private server; skips where there is none to start, but fails in CI."""
    if not RabbitServer.available():
        if os.environ.get("CI"):
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    with RabbitServer() as server:
        yield server


@pytest.fixture
def broker(request: pytest.FixtureRequest) -> Iterator[RabbitServer]:
    """A private server that one test may stop."""
    if not RabbitServer.available():
        request.getfixturevalue("rabbitmq")  # skips or fails with the one reason
    with RabbitServer() as server:
        yield server
