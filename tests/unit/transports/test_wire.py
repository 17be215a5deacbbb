"""Replies from bytes, however they are cut, and what is no reply."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.outcome import Reply
from worker.transports.wire import MAX_LINE_LENGTH, MAX_REPLY_LENGTH, ConnectionBroken, Wire

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

STREAM = (
    b"250-2.1.0 Ok\r\n250-2.1.0 go\r\n250 2.1.0 on\r\n354\r\n"
    b"550 5.1.1 k\xc4\x81ore\n250 caf\xe9\r\n"
)
REPLIES = [
    Reply(250, "Ok go on", "2.1.0"),
    Reply(354, ""),
    Reply(550, "kāore", "5.1.1"),
    Reply(250, "caf\ufffd"),
]


class FakeTransport(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.aborted = False
        self.closed = False
        self.protocol: asyncio.BaseProtocol | None = None

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Take a protocol over."""
        self.protocol = protocol

    def is_closing(self) -> bool:
        """Whether it was closed."""
        return self.aborted or self.closed

    def write(self, data: Any) -> None:
        """Keep data."""
        self.written.append(bytes(data))

    def abort(self) -> None:
        """Cut."""
        self.aborted = True

    def close(self) -> None:
        """End politely."""
        self.closed = True


def on_wire(test: Callable[[Wire, FakeTransport], Awaitable[None]]) -> None:
    """Run a test on a wire over a fake transport."""

    async def main() -> None:
        transport = FakeTransport()
        await test(Wire(transport, asyncio.get_running_loop()), transport)

    asyncio.run(main())


@given(st.lists(st.integers(0, len(STREAM)), max_size=8).map(sorted))
def test_replies_do_not_depend_on_how_bytes_arrive(cuts: list[int]) -> None:
    """Cut anywhere, the stream has the same replies."""

    async def test(wire: Wire, transport: FakeTransport) -> None:
        for start, end in zip([0, *cuts], [*cuts, len(STREAM)], strict=True):
            wire.data_received(STREAM[start:end])
        assert [await wire.reply(1) for _ in REPLIES] == REPLIES
        assert wire.replies_seen == len(REPLIES)
        assert wire.usable

    on_wire(test)


@pytest.mark.parametrize(
    "garbage",
    [
        b"hello\r\n",
        b"\r\n",
        b"25\r\n",
        b"250x\r\n",
        b"199 too low\r\n",
        b"600 too high\r\n",
        b"2\xb250 digit\r\n",
        b"250 " + b"x" * MAX_LINE_LENGTH + b"\r\n",
        b"x" * (MAX_LINE_LENGTH + 1),
        b"250-x\r\n" * (MAX_REPLY_LENGTH // 4),
    ],
)
def test_what_is_no_reply_cuts_the_connection(garbage: bytes) -> None:
    """Garbage, and replies without an end, are not waited out."""

    async def test(wire: Wire, transport: FakeTransport) -> None:
        wire.data_received(garbage)
        with pytest.raises(ConnectionBroken, match="the server sent"):
            await wire.reply(1)
        assert transport.aborted
        wire.data_received(b"250 ok\r\n")
        with pytest.raises(ConnectionBroken):
            wire.write(b"NOOP\r\n")

    on_wire(test)


@pytest.mark.parametrize("said", [b"421 bye\r\n", b"42", b"421-bye\r\n"])
def test_unasked_words_make_it_unusable(said: bytes) -> None:
    """An idle connection on which the server speaks is not used again."""

    async def test(wire: Wire, transport: FakeTransport) -> None:
        assert wire.usable
        wire.data_received(said)
        assert not wire.usable

    on_wire(test)


@pytest.mark.parametrize("end", ["eof", "lost", "error"])
def test_end_wakes_who_waits(end: str) -> None:
    """A reader learns at once how the connection ended."""

    async def test(wire: Wire, transport: FakeTransport) -> None:
        reading = asyncio.ensure_future(wire.reply(60))
        await asyncio.sleep(0)
        if end == "eof":
            assert wire.eof_received() is False
        else:
            wire.connection_lost(ConnectionResetError("reset") if end == "error" else None)
        with pytest.raises(ConnectionBroken, match="reset" if end == "error" else "closed"):
            await reading
        assert not wire.usable

    on_wire(test)


def test_replies_before_the_end_are_still_read() -> None:
    """A 421 that comes together with the end is not lost."""

    async def test(wire: Wire, transport: FakeTransport) -> None:
        wire.data_received(b"421 4.3.2 bye\r\n")
        wire.connection_lost(None)
        assert (await wire.reply(1)).code == 421
        with pytest.raises(ConnectionBroken):
            await wire.reply(1)

    on_wire(test)


def test_flow_control_holds_back() -> None:
    """Drain waits from pause to resume, fails when the wait is too long or the line ends."""

    async def test(wire: Wire, transport: FakeTransport) -> None:
        await wire.drain(0)
        wire.pause_writing()
        draining = asyncio.ensure_future(wire.drain(60))
        await asyncio.sleep(0)
        assert not draining.done()
        wire.resume_writing()
        await draining
        wire.pause_writing()
        with pytest.raises(ConnectionBroken, match="stopped reading"):
            await wire.drain(0)
        draining = asyncio.ensure_future(wire.drain(60))
        await asyncio.sleep(0)
        wire.connection_lost(None)
        with pytest.raises(ConnectionBroken):
            await draining

    on_wire(test)


def test_quit_is_polite_once_and_patient_no_longer_than_asked() -> None:
    """QUIT is said once; then the server closes, or the end of the grace time does."""

    async def test(wire: Wire, transport: FakeTransport) -> None:
        wire.quit()
        wire.quit()
        assert transport.written == [b"QUIT\r\n"]
        assert not wire.usable
        wire.data_received(b"221 bye\r\n")
        assert not transport.is_closing()  # the server still counts it
        assert not wire.eof_received()  # so the transport closes
        silent = FakeTransport()
        other = Wire(silent, asyncio.get_running_loop())
        other.quit(grace_seconds=0)
        await asyncio.sleep(0.01)
        assert silent.aborted

    on_wire(test)


def test_closed_transport_is_known_from_the_start() -> None:
    """A connection that ended between login and take-over is broken at once."""

    async def main() -> None:
        transport = FakeTransport()
        transport.close()
        wire = Wire(transport, asyncio.get_running_loop())
        assert wire.broken == "the server closed the connection"

    asyncio.run(main())
