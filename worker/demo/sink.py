"""A small receiving server that keeps every mail as a file and notes when it took it.

``python -m worker.demo.sink FOLDER`` is one that runs until SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

_ADDRESS = re.compile(rb"<([^>]*)>")
_MESSAGE_ID = re.compile(rb"^message-id:\s*(<[^>]*>)", re.IGNORECASE | re.MULTILINE)
_EHLO = b"250-demo.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 20000000\r\n"


class Arrival(NamedTuple):
    """One mail that was taken; ``at`` is in seconds of ``time.monotonic``."""

    at: float
    message_id: str
    sender: str
    recipient: str


class _Session(asyncio.Protocol):
    """One connection (RFC 5321, with RFC 2920 pipelining)."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._buffer = b""
        self._in_data = False
        self._sender = b""
        self._recipients: list[bytes] = []
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._say(b"220 demo.example ESMTP")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self._next():
            pass

    def _next(self) -> bool:
        if self._in_data:
            content, dot, rest = self._buffer.partition(b"\r\n.\r\n")
            if not dot:
                return False
            self._buffer, self._in_data = rest, False
            delay = self._sink.random.random() * self._sink.delay_seconds
            asyncio.get_running_loop().call_later(delay, self._take, content + b"\r\n")
            return True
        line, end, rest = self._buffer.partition(b"\r\n")
        if not end:
            return False
        self._buffer = rest
        self._command(line)
        return True

    def _command(self, line: bytes) -> None:
        verb = line[:4].upper()
        if verb == b"EHLO":
            assert self._transport is not None
            self._transport.write(_EHLO)
        elif verb == b"MAIL":
            found = _ADDRESS.search(line)
            self._sender, self._recipients = (found[1] if found else b""), []
            self._say(b"250 2.1.0 ok")
        elif verb == b"RCPT":
            found = _ADDRESS.search(line)
            self._recipients.append(found[1] if found else b"")
            self._say(b"250 2.1.5 ok")
        elif verb == b"DATA":
            self._in_data = True
            self._say(b"354 go on")
        elif verb == b"QUIT":
            self._say(b"221 2.0.0 bye")
            if self._transport is not None:
                self._transport.close()
        elif verb in {b"HELO", b"RSET", b"NOOP"}:
            self._say(b"250 2.0.0 ok")
        else:
            self._say(b"502 5.5.1 not here")

    def _take(self, content: bytes) -> None:
        number = self._sink.keep(content, self._sender, self._recipients)
        self._say(b"250 2.0.0 taken as %06d" % number)

    def _say(self, reply: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(reply + b"\r\n")


class Sink:
    """Listens on 127.0.0.1, in a thread of its own, for a ``with`` block.

    Args:
        folder: where each mail is kept as an ``.eml`` file.
        delay_seconds: each mail is answered after a random time up to this.
        port: 0 takes a free one.

    Raises:
        OSError: something else listens on that port.
    """

    def __init__(
        self,
        folder: Path,
        *,
        delay_seconds: float,
        port: int = 0,
        seed: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder = folder
        self.delay_seconds = delay_seconds
        self.random = random.Random(seed)  # noqa: S311 - delays are no secrets
        self.arrivals: list[Arrival] = []
        self.port = port
        self._clock = clock
        self._before = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="sink", daemon=True)

    def keep(self, content: bytes, sender: bytes, recipients: list[bytes]) -> int:
        """Take a mail now: note the time, write the file; its number."""
        found = _MESSAGE_ID.search(content)
        message_id = found[1].decode("ascii", "replace") if found else ""
        now = self._clock()
        for recipient in recipients:
            self.arrivals.append(
                Arrival(now, message_id, sender.decode(), recipient.decode("utf-8", "replace"))
            )
        number = self._before + len(self.arrivals)
        (self.folder / f"{number:06d}.eml").write_bytes(content)
        return number

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        kept = (path.stem for path in self.folder.glob("*.eml"))
        self._before = max(map(int, filter(str.isdecimal, kept)), default=0)
        self._thread.start()
        server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        self.port = server.sockets[0].getsockname()[1]
        self._server = server
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._server.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    async def _listen(self) -> asyncio.Server:
        return await self._loop.create_server(lambda: _Session(self), "127.0.0.1", self.port)


def main() -> int:
    """Be a sink for whoever tries things out; the exit code."""
    parser = argparse.ArgumentParser(prog="postmeter-sink", description="Keep mail, deliver none.")
    parser.add_argument("folder", type=Path, help="where each mail becomes an .eml file")
    parser.add_argument("--port", type=int, default=1025, help="of 127.0.0.1 (%(default)s)")
    asked = parser.parse_args()
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)  # before its thread starts: it inherits this
    sink = Sink(asked.folder, delay_seconds=0.0, port=asked.port)
    try:
        with sink:
            print(f"taking mail on 127.0.0.1:{sink.port} into {sink.folder}", flush=True)  # noqa: T201 - its log
            signal.sigwait(ends)
    except OSError as error:
        print(f"cannot listen on 127.0.0.1:{asked.port}: {error.strerror}", file=sys.stderr)  # noqa: T201 - as above
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
