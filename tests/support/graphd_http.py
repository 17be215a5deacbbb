"""HTTP/1.1 over TLS with connections that stay, one thread each, for the Graph for tests."""

from __future__ import annotations

import contextlib
import itertools
import socket
import sys
import threading
from http import HTTPStatus
from http.client import responses
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import TYPE_CHECKING, Protocol

from tests.support.graphd_flight import gone

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from tests.support.graphd_wire import Exchange, Reply

BLOCK_BYTES = 1 << 16
HANDSHAKE_SECONDS = 30.0
RESET = b"\1\0\0\0\0\0\0\0"
"""SO_LINGER: on, for no time: closing resets the connection."""


class Application(Protocol):
    """What answers requests; its methods are called from many threads."""

    def begin(
        self, method: str, target: str, headers: Mapping[str, str], connection: Connection
    ) -> Exchange:
        """Take a request's head; a reply that it has then is given without reading the body."""

    def answer(self, exchange: Exchange) -> Reply:
        """Serve a request whose body has come."""

    def end(self, exchange: Exchange, reply: Reply | None) -> None:
        """Note that a request is over, before its reply can be read; the first note counts."""

    def failed(self, error: BaseException | None) -> None:
        """Note an error of the server's own."""


class Connection(BaseHTTPRequestHandler):
    """One connection of a client.

    Attributes:
        number: counted from 1.
        given_up: whether the client must not use it any more.
    """

    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    number = 0
    given_up = False

    def setup(self) -> None:
        """Shake hands here, in the connection's own thread."""
        self.number = next(self.server.numbers)
        self.request.settimeout(HANDSHAKE_SECONDS)
        self.request = self.server.context.wrap_socket(
            self.request, server_side=True, do_handshake_on_connect=False
        )
        self.server.opened(self)
        try:
            self.request.do_handshake()
        except BaseException:
            self.server.closed(self)
            raise
        self.request.settimeout(None)
        super().setup()

    def finish(self) -> None:
        """Close both halves, as the last that happens to the connection."""
        with contextlib.suppress(OSError):
            super().finish()
        self.server.closed(self)

    def handle_one_request(self) -> None:
        """Read a request, have it answered, and write the reply."""
        try:
            self.raw_requestline = self.rfile.readline(BLOCK_BYTES)
            if not self.raw_requestline or not self.parse_request():
                self.close_connection = True
            else:
                self._serve()
        except OSError:
            self.close_connection = True  # the client has gone, or the server ends

    def _serve(self) -> None:
        application = self.server.application
        headers = {name.lower(): value for name, value in self.headers.items()}
        exchange = application.begin(self.command, self.path, headers, self)
        try:
            length = int(headers.get("content-length") or 0)
            if exchange.reply is None:
                exchange.request.body = self._read(length)
            else:
                self._skip(length)
            reply = exchange.reply or application.answer(exchange)
            if reply.delay_seconds:
                gone(self.request, reply.delay_seconds)
            self.given_up = self.given_up or reply.status == HTTPStatus.SERVICE_UNAVAILABLE
            application.end(exchange, reply)
        finally:
            application.end(exchange, None)
        if reply.cut:
            self.close_connection = True
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        else:
            self._write(reply, exchange)

    def _read(self, length: int) -> bytes:
        body = self.rfile.read(length)
        if len(body) < length:
            raise ConnectionResetError("The client has gone amid a request.")
        return body

    def _skip(self, length: int) -> None:
        while length > 0:
            length -= len(self._read(min(length, BLOCK_BYTES)))

    def _write(self, reply: Reply, exchange: Exchange) -> None:
        headers, body = reply.encode(exchange.request)
        lines = [f"HTTP/1.1 {reply.status} {responses.get(reply.status, 'Other')}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if self.close_connection:
            lines.append("Connection: close")
        self.wfile.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
        """Say nothing: what happened is asked of the server."""


class Server(ThreadingMixIn, TCPServer):
    """Accepts connections until it is stopped."""

    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, application: Application, context: ssl.SSLContext, port: int) -> None:
        self.application = application
        self.context = context
        self.numbers = itertools.count(1)
        self._open: set[Connection] = set()
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", port), Connection)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), name="graphd")

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])

    def start(self) -> None:
        """Accept from now on."""
        self._thread.start()

    def stop(self) -> None:
        """End every connection, and wait for their threads."""
        self.shutdown()
        self._thread.join()
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connection.request, socket.SHUT_RDWR)
        self.server_close()

    def opened(self, connection: Connection) -> None:
        """Note a connection."""
        with self._lock:
            self._open.add(connection)

    def closed(self, connection: Connection) -> None:
        """Note that a connection is over, and give its socket back."""
        with self._lock:
            self._open.discard(connection)
        with contextlib.suppress(OSError):
            connection.request.close()

    def handle_error(self, request: object, client_address: object) -> None:
        """Let a handshake fail in silence, and nothing else."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            self.application.failed(error)
