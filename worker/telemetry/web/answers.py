"""Answers requests for pages, and refuses what nobody needs: to write, or under a strange name.

Who reads these pages needs no password, so they are bound to this host alone unless an operator
says otherwise. A web page from elsewhere could still make a browser on this host ask for them under
a name of its own that suddenly means 127.0.0.1 (DNS rebinding), and read the answer. So where the
address is the loopback, a host's name in the request has to be this host's, or an address. Where the
operator has chosen another address, names are the network's matter.
"""

from __future__ import annotations

import socket
import time
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import parse_qs

from worker.telemetry.web.frame import headers
from worker.telemetry.web.page import REFRESH_SECONDS, status_page
from worker.telemetry.web.runbook_pages import runbook_page, texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from worker.telemetry.board import Board

METHODS: Final = ("GET", "HEAD")
_TEXT: Final = ("Content-Type", "text/plain; charset=utf-8")
_NOT_HERE: Final = (
    b"these pages are of this host only: ask for localhost or 127.0.0.1; a proxy in front of them"
    b" has to set Host so\n"
)
_RUNBOOK: Final = "/runbook/"


class Page(NamedTuple):
    """One page.

    Attributes:
        refresh_seconds: after how long it loads itself again; None: never.
    """

    content: bytes
    refresh_seconds: int | None = None


class Pages:
    """The pages for people.

    Args:
        board: how things stand.
    """

    def __init__(self, board: Callable[[], Board]) -> None:
        self._board = board

    def find(self, path: str, query: str) -> Page | None:
        """The page at a path, or None where there is none."""
        if path == "/":
            again = parse_qs(query).get("refresh") != ["off"]
            content = status_page(self._board(), time.time(), alerts=texts(), refresh=again)
            return Page(content, REFRESH_SECONDS if again else None)
        found = runbook_page(path.removeprefix(_RUNBOOK)) if path.startswith(_RUNBOOK) else None
        return None if found is None else Page(found)


def guarded(app: WSGIApplication, bound_to: str) -> WSGIApplication:
    """Let through only requests that read, and under a name that is meant for this host.

    Args:
        bound_to: the address that is listened on.
    """
    is_loopback = _is_loopback(bound_to)
    own_names = {"localhost", bound_to.lower(), socket.gethostname().lower()}

    def answer(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] not in METHODS:
            start("405 Method Not Allowed", [_TEXT, ("Allow", ", ".join(METHODS))])
            return [b"these pages are only read\n"]
        name = _name_in(environ.get("HTTP_HOST", ""))
        if is_loopback and name and name not in own_names and not _is_address(name):
            start("421 Misdirected Request", [_TEXT])
            return [_NOT_HERE]
        if environ["REQUEST_METHOD"] == "HEAD":
            return _head(app, environ, start)
        return app(environ, start)

    return answer


def _head(app: WSGIApplication, environ: WSGIEnvironment, start: StartResponse) -> list[bytes]:
    """Answer as to GET, without the content (RFC 9110 9.3.2)."""
    status, told = "", list[tuple[str, str]]()

    def note(line: str, headers: list[tuple[str, str]], _error: object = None) -> Any:
        nonlocal status
        status, told[:] = line, headers

    length = len(b"".join(app({**environ, "REQUEST_METHOD": "GET"}, note)))
    kept = [each for each in told if each[0] != "Content-Length"]
    start(status, [*kept, ("Content-Length", str(length))])
    return []


def show(page: Page, start: StartResponse) -> Iterable[bytes]:
    """Answer with a page."""
    again = [("Refresh", str(page.refresh_seconds))] if page.refresh_seconds else []
    start("200 OK", [*headers(), *again, ("Content-Length", str(len(page.content)))])
    return [page.content]


def _name_in(host: str) -> str:
    """The name or address in a Host header (RFC 9110 7.2), without its port."""
    if host.startswith("["):
        return host.partition("]")[0].removeprefix("[").lower()
    return host.partition(":")[0].rstrip(".").lower()


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ip_address(host).is_loopback)
