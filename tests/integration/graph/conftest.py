"""What the Graph suites share: one server for a module, emptied before each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.certificates import Certificates, certificates
from tests.support.graph_desk import GraphDesk
from tests.support.graphd import Graph

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def graph_certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """A certificate that no system trusts."""
    return certificates(tmp_path_factory.mktemp("graph-tls"))


@pytest.fixture(scope="module")
def graph_server(graph_certificates: Certificates) -> Iterator[Graph]:
    """A Graph for tests."""
    with Graph(graph_certificates, enforce=True) as graph:
        yield graph


@pytest.fixture
def graph(graph_server: Graph) -> Iterator[Graph]:
    """The same, behaving, without a past; afterwards no request may have broken a rule."""
    graph_server.reset()
    graph_server.service.mailboxes.clear()
    yield graph_server
    assert graph_server.violations == []


@pytest.fixture
def desk(graph: Graph) -> GraphDesk:
    """A transport to it."""
    return GraphDesk(graph)
