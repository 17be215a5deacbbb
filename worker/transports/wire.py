"""The lines of an SMTP connection: replies in, commands and content out.

A small ``asyncio.Protocol`` that takes a transport over once it is connected, secured and logged
in. It parses replies (RFC 5321 4.2), holds back while the peer does not read, and knows without a
round trip whether an idle connection still stands.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from worker.replies import parse_reply

if TYPE_CHECKING:
    from worker.outcome import Reply

MAX_LINE_LENGTH = 4096
"""Octets in one reply line; RFC 5321 4.5.3.1.5 asks for 512, servers send more."""

MAX_REPLY_LENGTH = 65536
"""Octets in one reply of many lines."""

_CODE_DIGITS = 3


class ConnectionBroken(Exception):
    """The connection ended, was cut, fell silent or spoke no SMTP: it is of no more use.

    Attributes:
        reason: what happened, for a sentence.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Wire(asyncio.Protocol):
    """One connection after its login.

    Attributes:
        replies_seen: how many replies the server has sent since the take-over.
        closed: set when the connection has ended, for whoever waits for that.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._buffer = b""
        self._lines: list[str] = []
        self._length = 0
        self._replies: deque[Reply] = deque()
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._paused = False
        self._quitting = False
        self._broken: str | None = None
        self.replies_seen = 0
        self.closed: asyncio.Future[None] = loop.create_future()
        transport.set_protocol(self)
        if transport.is_closing():
            self._end("the server closed the connection")

    @property
    def usable(self) -> bool:
        """Whether a new mail may start: open, and the server has said nothing unasked.

        A server that says 421 to an idle connection, or closes it, is found out here.
        """
        return (
            self._broken is None
            and not self._quitting
            and not self._replies
            and not self._buffer
            and not self._lines
            and not self._transport.is_closing()
        )

    @property
    def broken(self) -> str | None:
        """Why the connection is of no more use; None while it stands."""
        return self._broken

    @property
    def reply_waiting(self) -> bool:
        """Whether a reply has come that nobody has read."""
        return bool(self._replies)

    def take_reply(self) -> Reply:
        """Return the reply that ``reply_waiting`` told of."""
        return self._replies.popleft()

    def write(self, data: bytes | memoryview) -> None:
        """Send ``data``, or keep it until the peer reads.

        Raises:
            ConnectionBroken: the connection has ended.
        """
        if self._broken is not None:
            raise ConnectionBroken(self._broken)
        self._transport.write(data)

    async def drain(self, timeout_seconds: float) -> None:
        """Wait until what was written has left, more or less (flow control).

        Raises:
            ConnectionBroken: the connection has ended, or the peer did not read in time.
        """
        if self._broken is not None:
            raise ConnectionBroken(self._broken)
        if self._paused:
            self._writer = self._loop.create_future()
            await self._wait(self._writer, timeout_seconds, "the server stopped reading")

    async def reply(self, timeout_seconds: float) -> Reply:
        """Return the next reply.

        Raises:
            ConnectionBroken: the connection has ended, or no reply came in time.
        """
        if not self._replies:
            if self._broken is not None:
                raise ConnectionBroken(self._broken)
            self._reader = self._loop.create_future()
            await self._wait(
                self._reader, timeout_seconds, f"no reply within {timeout_seconds:g} s"
            )
        return self._replies.popleft()

    async def _wait(
        self, future: asyncio.Future[None], timeout_seconds: float, reason: str
    ) -> None:
        # One timer is all that a time limit needs here: asyncio.timeout costs more than a reply.
        timer = self._loop.call_later(timeout_seconds, _fail, future, reason)
        try:
            await future
        finally:
            timer.cancel()

    def quit(self, grace_seconds: float = 2.0) -> None:
        """Say QUIT and let the server close, or close after the grace time.

        The server counts the connection until it has closed it, and another may wait for its place.
        """
        if self._broken is not None or self._quitting:
            return
        self._quitting = True
        self._transport.write(b"QUIT\r\n")
        timer = self._loop.call_later(grace_seconds, self.abort, "closed")
        self.closed.add_done_callback(lambda _: timer.cancel())

    def abort(self, reason: str = "closed by us") -> None:
        """Cut the connection: not one more byte leaves, buffered ones are dropped."""
        self._end(reason)
        self._transport.abort()

    def _end(self, reason: str) -> None:
        if self._broken is None:
            self._broken = reason
        for waiter in (self._reader, self._writer):
            if waiter is not None:
                _fail(waiter, self._broken)

    # Called by the transport.

    def data_received(self, data: bytes) -> None:
        """Take what the server sent; wake the reader when a reply is whole."""
        if self._quitting or self._broken is not None:
            return
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            if not self._line(line.rstrip(b"\r")):
                return
        if len(self._buffer) > MAX_LINE_LENGTH:
            self.abort("the server sent a line without an end")

    def _line(self, line: bytes) -> bool:
        self._length += len(line)
        code, mark = line[:3], line[3:4]
        if len(line) > MAX_LINE_LENGTH or self._length > MAX_REPLY_LENGTH:
            self.abort("the server sent a reply without an end")
            return False
        numbered = len(code) == _CODE_DIGITS and code.isdigit() and b"200" <= code < b"600"
        if not numbered or mark not in {b"", b" ", b"-"}:
            self.abort("the server sent something that is no SMTP reply")
            return False
        self._lines.append(line[4:].decode("utf-8", "replace"))
        if mark != b"-":
            self._replies.append(parse_reply(int(code), self._lines))
            self.replies_seen += 1
            self._lines, self._length = [], 0
            if self._reader is not None and not self._reader.done():
                self._reader.set_result(None)
        return True

    def eof_received(self) -> bool:
        """Let the transport close: a half-open connection sends no mail."""
        self._end("the server closed the connection")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake whoever waits, with the reason."""
        self._end(f"the connection was lost ({exc})" if exc else "the server closed the connection")
        if not self.closed.done():
            self.closed.set_result(None)

    def pause_writing(self) -> None:
        """Make ``drain`` wait."""
        self._paused = True

    def resume_writing(self) -> None:
        """Let ``drain`` return."""
        self._paused = False
        if self._writer is not None and not self._writer.done():
            self._writer.set_result(None)


def _fail(future: asyncio.Future[None], reason: str) -> None:
    if not future.done():
        future.set_exception(ConnectionBroken(reason))
        # Nobody may be waiting any more (a cancelled reader): then it is no news.
        future.exception()
