"""A Graph for tests, and a client of it, for the tests of the Graph itself."""

from __future__ import annotations

import ssl
import uuid
from typing import TYPE_CHECKING

import pytest

from tests.support.certificates import certificates
from tests.support.graphd import Graph
from tests.unit.support.graph_client import Client

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def _graph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Graph]:
    with Graph(certificates(tmp_path_factory.mktemp("graph-tls"))) as graph:
        yield graph


@pytest.fixture
def graph(_graph: Graph) -> Graph:
    """A Graph that behaves, with nothing noted and no mail."""
    _graph.reset()
    _graph.service.mailboxes.clear()
    _graph.service.gate.good = None
    return _graph


@pytest.fixture
def client(graph: Graph) -> Iterator[Client]:
    """An HTTP client with a token, which prefers immutable ids."""
    headers = {
        "Authorization": "Bearer good",
        "Prefer": 'IdType="ImmutableId"',
        "client-request-id": str(uuid.uuid4()),
    }
    context = ssl.create_default_context(cafile=str(graph.ca_file))
    with Client(base_url=graph.url, headers=headers, verify=context, trust_env=False) as made:
        yield made
