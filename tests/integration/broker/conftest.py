"""Fixtures of the broker tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.broker.harness import fresh_topology
from tests.support.rabbitmq import QUEUE_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from producers.topology import Topology
    from tests.support.rabbitmq import RabbitServer


@pytest.fixture(params=QUEUE_TYPES)
def topology(rabbitmq: RabbitServer, request: pytest.FixtureRequest) -> Iterator[Topology]:
    """Queues of this test alone, once of each type that is asked for."""
    with fresh_topology(rabbitmq, request.param) as topology:
        yield topology


@pytest.fixture
def own_topology(rabbitmq: RabbitServer) -> Iterator[Topology]:
    """Queues of this test alone, of the default type."""
    with fresh_topology(rabbitmq) as topology:
        yield topology
