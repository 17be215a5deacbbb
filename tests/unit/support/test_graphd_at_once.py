"""The Graph for tests knows how many requests are under way, and can be a process of its own."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.support.certificates import certificates
from tests.support.graphd_faults import slow
from tests.support.graphd_flight import Flight
from tests.support.graphd_process import GraphProcess
from tests.support.graphd_wire import Exchange, Request
from tests.unit.support.graph_client import JANE, Client, code

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.graphd import Graph


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The server's and the client's end of a connection."""
    server, client = socket.socketpair()
    with server, client:
        yield server, client


def _exchange(connection: socket.socket, mailbox: str = JANE, application: str = "app") -> Exchange:
    return Exchange(Request("get", mailbox, (), {}, {}, b""), application, connection)


def test_requests_at_once_are_counted(ends: tuple[socket.socket, socket.socket]) -> None:
    """The most at once is of those that had not ended, by application and by mailbox."""
    flight = Flight()
    first = _exchange(ends[0])
    assert flight.begin(first) == (1, 1)
    assert flight.begin(_exchange(ends[0], mailbox="bob@acme.example")) == (2, 1)
    assert flight.begin(_exchange(ends[0], application="other")) == (1, 2)
    assert (flight.end(first), flight.end(first)) == (True, False)
    assert flight.begin(_exchange(ends[0])) == (2, 2)
    assert flight.applications == {"app": 2, "other": 1}
    assert flight.mailboxes == {JANE: 2, "bob@acme.example": 1}


def test_a_request_whose_client_has_gone_does_not_count(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    """A worker that was killed amid a request leaves its place to who follows."""
    flight = Flight()
    flight.begin(_exchange(ends[0]))
    ends[1].sendall(b"half a request")
    ends[1].close()
    other, peer = socket.socketpair()
    with other, peer:
        assert flight.begin(_exchange(other)) == (1, 1)
    assert flight.mailboxes == {JANE: 1}


def test_too_many_at_once_are_answered_429(
    graph: Graph, client: Client, ends: tuple[socket.socket, socket.socket]
) -> None:
    """The limits are 4 for an application and 3 for a mailbox, where they are enforced."""
    draft = client.create()
    others = [_exchange(ends[0]) for _ in range(3)]
    for other in others:
        graph.service.flight.begin(other)
    assert client.get(draft).status_code == 200
    graph.service.enforce = True
    try:
        busy = client.get(draft)
        graph.service.flight.end(others[0])
        free = client.get(draft)
    finally:
        graph.service.enforce = False
        for other in others:
            graph.service.flight.end(other)
    assert code(busy) == (429, "ApplicationThrottled")
    assert busy.headers["Retry-After"] == "1"
    assert free.status_code == 200
    assert graph.most_per_mailbox == {JANE: 4}
    assert graph.violations == []


def test_a_client_that_gives_up_is_let_go(graph: Graph, client: Client) -> None:
    """A reply that is kept back does not outlive its connection, nor count against the next."""
    draft = client.create()
    graph.script("send", slow(600))
    with pytest.raises(httpx.ReadTimeout):
        client.post(f"{draft}/send", timeout=0.2)
    assert client.get(draft).json()["isDraft"] is False
    assert graph.most_per_mailbox == {JANE: 1}


def test_a_broken_handshake_harms_nobody(graph: Graph, client: Client) -> None:
    """Whoever does not trust the server, or speaks no TLS, goes away, and the server stays."""
    port = httpx.URL(graph.url).port
    assert port is not None
    with pytest.raises(httpx.ConnectError):
        httpx.get(graph.url, trust_env=False, verify=ssl.create_default_context())
    with socket.create_connection(("127.0.0.1", port)) as plain, contextlib.suppress(OSError):
        plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert not plain.recv(1 << 16).startswith(b"HTTP")
    assert client.get(client.create()).status_code == 200
    assert graph.violations == []


def test_it_runs_as_a_process_of_its_own(tmp_path: Path) -> None:
    """Its state is asked, and its faults are told, over its control address."""
    files = certificates(tmp_path)
    context = ssl.create_default_context(cafile=str(files.ca_file))
    headers = {"Authorization": "Bearer good"}
    with (
        GraphProcess(files) as graph,
        Client(base_url=graph.url, headers=headers, verify=context, trust_env=False) as client,
    ):
        draft = client.create()
        graph.faults({"kind": "every", "n": 1, "faults": ["timed-out-done"]})
        assert client.post(f"{draft}/send").status_code == 504
        graph.faults(None)
        assert client.get(f"{client.at}/letters").status_code == 400
        state = graph.state()
    (mail,) = state["mails"][JANE]
    assert (mail["subject"], mail["deliveries"], mail["shows_as_draft"]) == ("Invoice 7", 1, False)
    assert [delivery["recipients"] for delivery in state["deliveries"]] == [
        ["bob@customer.example"]
    ]
    assert [request["status"] for request in state["requests"]] == [201, 504, 400]
    assert len(state["violations"]) == 1
    assert state["most_per_mailbox"][JANE] == 1
    assert json.dumps(state)
