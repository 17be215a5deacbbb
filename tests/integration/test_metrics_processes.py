"""Metrics over several processes, one of them killed, and the end of the process that serves."""

from __future__ import annotations

import json
import signal
import socket
from typing import TYPE_CHECKING

import pytest

from tests.support.metrics_processes import Serving, of_acme
from worker.ledger.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SENT = "postmeter_emails_total", of_acme(outcome="sent")
CONNECTIONS = "postmeter_smtp_connections", {"server": "mx:25", "state": "busy"}


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    """A process that serves, with an empty ledger."""
    Ledger(f"sqlite:///{tmp_path / 'ledger.db'}").close()
    with Serving(tmp_path) as serving:
        yield serving


def test_counts_add_up_and_survive_a_kill(serving: Serving) -> None:
    """Counters are the sum over processes, never fall, and go on in the place of the dead one."""
    first, second = serving.start_counting(), serving.start_counting()
    first.sent(300)
    second.sent(200)
    assert serving.value(*SENT) == 500
    assert serving.value(*CONNECTIONS) == 2
    first.kill()
    assert serving.value(*SENT) == 500
    serving.wait_for(CONNECTIONS[0], 1, CONNECTIONS[1])
    third = serving.start_counting()
    third.sent(50)
    second.sent(1)
    assert serving.value(*SENT) == 551
    assert serving.value(*CONNECTIONS) == 2
    assert serving.value("postmeter_queue_wait_seconds_count", {"kind": "batch"}) == 551
    data = {"transport": "smtp", "phase": "data"}
    assert serving.value("postmeter_delivery_seconds_count", data) == 551
    assert len(list(serving.directory.glob("counter_*.db"))) == 3  # the serving process counts too


def test_a_drain_can_be_watched(serving: Serving) -> None:
    """After SIGTERM, even twice, it serves until the last worker has ended, and says it is not ready."""
    worker = serving.start_counting()
    worker.sent(1)
    for _ in range(2):
        serving.signal(signal.SIGTERM)
    serving.wait_for_ready("stopping")
    worker.sent(1)
    assert serving.value(*SENT) == 2
    assert serving.ended(0.5) is None
    worker.kill()
    assert serving.ended(5.0) == 0


def test_it_ends_at_once_when_hastened(serving: Serving) -> None:
    """SIGUSR1 does not wait for anybody."""
    serving.start_counting().sent(1)
    serving.signal(signal.SIGUSR1)
    assert serving.ended(5.0) == 0


def test_pages(serving: Serving) -> None:
    """Alive at once; not ready without a worker, in words and in JSON; nothing else is served."""
    assert serving.get("/healthz") == (200, "alive\n")
    assert serving.wait_for_ready("no worker") == (503, "no worker process is alive\n")
    status, answer = serving.get("/readyz", accept="application/json")
    assert (status, json.loads(answer)) == (503, {"ok": False, "why": "no worker process is alive"})
    assert serving.get("/nothing")[0] == 404


def test_ipv6(tmp_path: Path) -> None:
    """An IPv6 address serves as well, and the log shows an address that a browser takes."""
    with Serving(tmp_path, host="::1") as serving:
        assert serving.first_line["url"] == f"http://[::1]:{serving.port}"
        assert serving.get("/healthz") == (200, "alive\n")


def test_a_port_in_use(serving: Serving, tmp_path: Path) -> None:
    """Where the port is taken it says which variables to set, and ends with 2."""
    with Serving(tmp_path / "other", port=serving.port) as other:
        assert other.ended(5.0) == 2
        assert "POSTMETER_METRICS_PORT" in other.first_line["event"]
        assert other.first_line["address"] == f"127.0.0.1:{serving.port}"


def test_an_open_connection_holds_nobody_up(serving: Serving) -> None:
    """A client that says nothing keeps neither another client nor the end waiting."""
    with socket.create_connection(("127.0.0.1", serving.port)):
        assert serving.get("/healthz")[0] == 200
        serving.signal(signal.SIGTERM)
        assert serving.ended(5.0) == 0
