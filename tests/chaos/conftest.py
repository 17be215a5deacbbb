"""Chaos runs on both ways in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.rabbitmq import unique_prefix

if TYPE_CHECKING:
    from tests.support.rabbitmq import RabbitServer


@pytest.fixture(params=["embedded", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def way_in(request: pytest.FixtureRequest) -> tuple[str, str]:
    """A broker's address, and the prefix of queues that no other test touches."""
    if request.param == "embedded":
        return "embedded:", ""
    server: RabbitServer = request.getfixturevalue("rabbitmq")
    return server.url, unique_prefix("chaos")
