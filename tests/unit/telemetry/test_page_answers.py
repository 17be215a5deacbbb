"""How pages are answered: what is refused, the headers, and what HEAD gets."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

from tests.support.boards import EMPTY
from worker.telemetry.web.answers import Pages, guarded, show
from worker.telemetry.web.page import REFRESH_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

PAGES = Pages(lambda: EMPTY)


def app(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
    """The pages, and nothing else."""
    page = PAGES.find(environ["PATH_INFO"], environ.get("QUERY_STRING", ""))
    assert page is not None
    return show(page, start)


def ask(
    path: str = "/",
    *,
    method: str = "GET",
    host: str | None = "localhost",
    bound_to: str = "127.0.0.1",
    query: str = "",
) -> tuple[str, dict[str, str], bytes]:
    """Ask as a browser does; the status, the headers and the content, checked for PEP 3333."""
    environ: dict[str, Any] = {"REQUEST_METHOD": method, "PATH_INFO": path, "SCRIPT_NAME": ""}
    environ["QUERY_STRING"] = query
    setup_testing_defaults(environ)
    environ.pop("HTTP_HOST")
    if host is not None:
        environ["HTTP_HOST"] = host
    told: list[Any] = []

    def start(status: str, headers: list[tuple[str, str]], _error: object = None) -> Any:
        told[:] = [status, dict(headers)]

    body = validator(guarded(app, bound_to))(environ, start)
    try:
        return told[0], told[1], b"".join(body)
    finally:
        body.close()  # type: ignore[attr-defined]  # wsgiref's checker wants it


def test_a_page_may_load_and_run_nothing() -> None:
    """The policy forbids everything but the page's own style, and nobody keeps or frames it."""
    status, headers, body = ask()
    assert status == "200 OK"
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy.pop("style-src").startswith("'sha256-")
    assert policy == dict.fromkeys(
        ("default-src", "base-uri", "form-action", "frame-ancestors"), "'none'"
    )
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert int(headers["Content-Length"]) == len(body)
    assert b"<script" not in body
    assert b"src=" not in body


def test_head_gets_the_headers_alone() -> None:
    """As long as the page would be, and nothing of it."""
    status, headers, body = ask(method="HEAD")
    assert (status, body) == ("200 OK", b"")
    assert int(headers["Content-Length"]) > 1000


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"])
def test_nothing_can_be_written(method: str) -> None:
    """Any other method is refused, and told what is not."""
    status, headers, _ = ask(method=method)
    assert (status, headers["Allow"]) == ("405 Method Not Allowed", "GET, HEAD")


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:9191",
        "localhost.:9191",
        "127.0.0.1:9191",
        "127.8.8.8",
        "[::1]:9191",
        "10.1.2.3",
        f"{socket.gethostname()}:9191",
        None,
        "",
    ],
)
def test_this_host_is_asked_under_its_own_names(host: str | None) -> None:
    """Its name, localhost and addresses: no web page from elsewhere has those for its own."""
    assert ask(host=host)[0] == "200 OK"


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example:9191", "127.0.0.1.nip.io"]
)
def test_a_strange_name_for_the_loopback_is_refused(host: str) -> None:
    """A name of somebody's that suddenly means 127.0.0.1 (DNS rebinding) reads nothing here."""
    status, _, body = ask(host=host)
    assert status == "421 Misdirected Request"
    assert b"Host" in body
    assert ask(host=host, bound_to="::1")[0] == status
    assert ask(host=host, bound_to="0.0.0.0")[0] == "200 OK"  # noqa: S104 - names there are the network's matter


def test_refreshing_stops_by_the_address() -> None:
    """The link that stops it, and nothing else that is asked, changes the page."""
    assert ask(query="refresh=on&x=<b>")[1]["Refresh"] == str(REFRESH_SECONDS)
    assert "Refresh" not in ask(query="refresh=off")[1]
    assert "Refresh" not in ask("/runbook/")[1]
