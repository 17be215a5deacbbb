"""The HTTPS side of ``tests.support.authority``: addresses, scripted failures, errors as Entra words them."""

from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

DEVICE_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"


@dataclass(frozen=True, slots=True)
class Fault:
    """How one request for a token fails.

    Attributes:
        error: OAuth's name for it; empty where the status says all.
        code: the number after AADSTS in the description.
        retry_after: the header, as it is sent.
        location: another header, of a redirection.
        delay_seconds: how long the reply takes; without an error it is a good one.
        cut: the connection ends without a reply.
        during: called before the reply.
        page: HTML is sent, as a proxy or a portal does.
    """

    status: int = 400
    error: str = ""
    code: int = 0
    retry_after: str = ""
    location: str = ""
    delay_seconds: float = 0.0
    cut: bool = False
    page: bool = False
    during: Callable[[], object] = lambda: None

    @property
    def only_slow(self) -> bool:
        """Whether the reply is a good one all the same."""
        return bool(self.delay_seconds) and not (self.error or self.cut or self.page)


class Refused(Exception):
    """The error that a request is answered with."""

    def __init__(self, error: str, code: int = 0, status: int = 400) -> None:
        super().__init__(error)
        self.error, self.code, self.status = error, code, status


class Answers(Protocol):
    """What stands behind the addresses."""

    @property
    def tenant(self) -> str:
        """The one tenant that there is."""

    def note(self, form: dict[str, str]) -> Fault | None:
        """Count a request for a token; how it is to fail."""

    def discovery(self, tenant: str) -> dict[str, Any]:
        """The document at ``.well-known/openid-configuration``."""

    def device_code(self, form: dict[str, str]) -> dict[str, Any]:
        """Start a sign-in."""

    def token(self, form: dict[str, str]) -> dict[str, Any]:
        """Answer a request for a token."""

    def identity(self, query: dict[str, str], header: str | None) -> dict[str, Any]:
        """Answer a managed identity's request, as App Service does."""


class AuthorityServer(ThreadingHTTPServer):
    """Serves on a free port of 127.0.0.1, a thread for each connection."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, answers: Answers, context: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = answers
        self.port: int = self.server_address[1]
        self.socket = context.wrap_socket(
            self.socket, server_side=True, do_handshake_on_connect=False
        )
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,))

    def start(self) -> None:
        """Serve from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Serve no more."""
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, *_: object) -> None:
        """A client that goes away is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30
    disable_nagle_algorithm = True
    server: AuthorityServer

    @property
    def _answers(self) -> Answers:
        return self.server.answers

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path == "/msi/token":
            self._answer_token({**query, "grant_type": "identity"})
        elif url.path.endswith("/v2.0/.well-known/openid-configuration"):
            self._answer(lambda: self._answers.discovery(url.path.split("/")[1]))
        else:
            self._send(404, {"error": "not_found"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        form = {name: values[0] for name, values in parse_qs(body).items()}
        tenant, _, rest = self.path.lstrip("/").partition("/")
        if (tenant, rest) == (self._answers.tenant, "oauth2/v2.0/token"):
            self._answer_token(form)
        elif (tenant, rest) == (self._answers.tenant, "oauth2/v2.0/devicecode"):
            self._answer(lambda: self._answers.device_code(form))
        else:
            self._send(404, {"error": "not_found"})

    def _answer_token(self, form: dict[str, str]) -> None:
        fault = self._answers.note(form)
        if fault is not None:
            time.sleep(fault.delay_seconds)
            fault.during()
        if fault is not None and not fault.only_slow:
            self._fail(fault)
        elif form["grant_type"] == "identity":
            header = self.headers.get("X-IDENTITY-HEADER")
            self._answer(lambda: self._answers.identity(form, header))
        else:
            self._answer(lambda: self._answers.token(form))

    def _fail(self, fault: Fault) -> None:
        if fault.cut:
            self.close_connection = True
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            return
        headers = {"Retry-After": fault.retry_after, "Location": fault.location}
        headers = {name: value for name, value in headers.items() if value}
        if fault.page:
            page = b"<html>Sign in to the network</html>"
            self._send_bytes(fault.status, page, "text/html", headers)
        else:
            self._send(fault.status, describe(fault.error, fault.code), headers)

    def _answer(self, make: Callable[[], object]) -> None:
        try:
            document = make()
        except Refused as refused:
            self._send(refused.status, describe(refused.error, refused.code))
        else:
            self._send(200, document)

    def _send(self, status: int, document: object, headers: dict[str, str] | None = None) -> None:
        self._send_bytes(status, json.dumps(document).encode(), "application/json", headers)

    def _send_bytes(
        self, status: int, body: bytes, kind: str, headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        sent = {"Content-Type": kind, "Content-Length": str(len(body)), **(headers or {})}
        for name, value in sent.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def describe(error: str, code: int) -> dict[str, Any]:
    """As Entra words it: the description has particulars that must not be passed on."""
    return {
        "error": error or "server_error",
        "error_description": f"AADSTS{code}: particulars-of-the-request Trace ID: 0",
        "error_codes": [code],
    }
