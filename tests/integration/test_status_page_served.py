"""The status page and the runbook over HTTP, from the process that serves metrics."""

from __future__ import annotations

import http.client
import socket
from typing import TYPE_CHECKING

import pytest

from tests.support.ledger import new_job
from tests.support.metrics_processes import Serving
from tests.support.strict_html import check_accessible, read_html
from tests.support.waiting import wait_until
from worker.ledger import deliveries, holds, workers
from worker.ledger.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Connection

    from worker.ledger.clock import Now

SAID = "535 5.7.8 jane@example.nz: wrong password for subject Hello"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger with a worker, 40 jobs that wait, and a hold with a server's words."""
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")

    def fill(connection: Connection, now: Now) -> None:
        workers.register(connection, now, "w1", host=socket.gethostname(), pid=1, version="1")
        for number in range(40):
            job = new_job(f"job-{number}", subject="Hello")
            assert deliveries.accept(connection, now, job)
        holds.put_hold(connection, now, "account:acme/jane", f"acme/jane: login: {SAID}")

    ledger.call(fill)
    yield ledger
    ledger.close()


def page_of(serving: Serving) -> str:
    """The words of the page, read and checked."""
    status, body = serving.get("/")
    assert status == 200
    page = read_html(body.encode())
    check_accessible(page)
    return page.one("body").text


def test_the_page_follows_the_ledger(ledger: Ledger, tmp_path: Path) -> None:
    """What waits and is held shows, without a word of a mail or a server; then it is gone.

    Where the ledger itself goes away, what was known last stays, and the page says how old it is.
    """
    with Serving(tmp_path) as serving:
        wait_until(lambda: "acme batch" in serving.get("/")[1], "the line shows")
        said = page_of(serving)
        assert "account:acme/jane" in said
        assert "company:acme" in said
        for hidden in ("535", "@", "Hello", "wrong password", "job-1", str(tmp_path)):
            assert hidden not in said
        ledger.call(lambda c, _: holds.clear_hold(c, "account:acme/jane"))
        wait_until(lambda: "Nothing is held." in serving.get("/")[1], "the hold is gone")
        assert serving.get("/runbook/")[0] == 200
        ledger.call(lambda c, _: c.exec_driver_sql("ALTER TABLE delivery RENAME TO gone"))
        wait_until(lambda: "cannot be read" in serving.get("/")[1], "the fault shows")
        assert "acme batch" in page_of(serving)


def test_methods_names_and_paths(ledger: Ledger, tmp_path: Path) -> None:
    """HEAD has no content; nothing is written; a strange name and a path that climbs get nothing."""
    with Serving(tmp_path) as serving:

        def ask(method: str, path: str, host: str = "localhost") -> tuple[int, bytes, str]:
            connection = http.client.HTTPConnection("127.0.0.1", serving.port, timeout=60)
            connection.putrequest(method, path, skip_host=True)
            connection.putheader("Host", host)
            connection.endheaders()
            response = connection.getresponse()
            found = response.status, response.read(), response.headers.get("Content-Length", "")
            connection.close()
            return found

        status, body, length = ask("HEAD", "/")
        assert (status, body) == (200, b"")
        assert int(length) > 1000
        assert ask("HEAD", "/metrics")[:2] == (200, b"")
        assert ask("POST", "/")[0] == 405
        assert ask("GET", "/", "evil.example")[0] == 421
        assert ask("GET", "/metrics", "evil.example:9191")[0] == 421
        for path in ("/runbook/../../system.toml", "/runbook/%2e%2e/README", "/style.css"):
            status, body, _ = ask("GET", path)
            assert (status, b"/metrics" in body) == (404, True)


def test_without_a_ledger_the_page_still_answers(tmp_path: Path) -> None:
    """It says that the ledger cannot be read, and names no file; errors of settings show."""
    (tmp_path / "ledger.db").write_bytes(b"this is no database" * 100)
    with Serving(tmp_path) as serving:
        serving.tree.write("companies/acme/company.toml", "[smtp]\nbatch_emails_per_min = 0\n")
        wait_until(lambda: "the settings of acme" in serving.get("/")[1], "the error shows")
        said = page_of(serving)
        assert "The ledger cannot be read" in said
        assert str(tmp_path) not in said
