"""What a container's health check says, and with which exit code."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest

from worker import healthcheck
from worker.telemetry.health import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

ANSWERS = {"/healthz": Verdict(ok=True, why="alive"), "/readyz": Verdict(ok=False, why="stopping")}


class Handler(BaseHTTPRequestHandler):
    """Answers as the worker's process for metrics does."""

    def do_GET(self) -> None:
        """Say what the page says."""
        verdict = ANSWERS[self.path]
        self.send_response(int(verdict.status.split()[0]))
        self.end_headers()
        self.wfile.write(verdict.as_text())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


@pytest.fixture
def port() -> Iterator[str]:
    """Where the pages are served."""
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield str(server.server_port)
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost"])  # noqa: S104 - asked, not bound
def test_a_worker_that_is_well(host: str, port: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0, and the page's word; the address that means all is asked as the loopback."""
    environ = {"POSTMETER_METRICS_HOST": host, "POSTMETER_METRICS_PORT": port}
    assert healthcheck.main([], environ) == 0
    assert capsys.readouterr().out.strip() == "alive"


def test_a_worker_that_is_not_ready(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1, and the reason."""
    assert healthcheck.main(["/readyz"], {"POSTMETER_METRICS_PORT": port}) == 1
    assert capsys.readouterr().out.strip() == "stopping"


def test_no_worker(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1 where nobody listens, and where."""
    environ = {"POSTMETER_METRICS_HOST": "127.0.0.2", "POSTMETER_METRICS_PORT": port}
    assert healthcheck.main([], environ) == 1
    assert f"no answer from 127.0.0.2:{port}/healthz" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "port"),
    [(["/metrics"], "9191"), (["/readyz", "x"], "9191"), ([], "0"), ([], "port"), ([], "70000")],
)
def test_wrong_usage(words: list[str], port: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, and what would be right."""
    assert healthcheck.main(words, {"POSTMETER_METRICS_PORT": port}) == 2
    assert capsys.readouterr().out.strip()
