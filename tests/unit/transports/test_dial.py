"""A host with several addresses: one that does not answer does not take the others' time."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from worker.transports import dial
from worker.transports.reasons import CONNECTING, FINDING


class Addresses:
    """A name with these addresses, and what becomes of a connection to each."""

    def __init__(self, patch: pytest.MonkeyPatch, **ends: Exception | None) -> None:
        self.ends = ends
        self.tried: list[str] = []
        self.steps: list[str] = []
        self.made = socket.socket()
        patch.setattr(dial, "_connect", self.connect)

    async def connect(self, family: int, kind: int, protocol: int, address: Any) -> socket.socket:
        """Connect, refuse, or (None) never answer."""
        self.tried.append(address[0])
        end = self.ends[address[0]]
        if isinstance(end, Exception):
            raise end
        if address[0].startswith("silent"):
            await asyncio.Event().wait()
        return self.made

    async def dial(self, limit_seconds: float = 60.0) -> socket.socket:
        """Dial the name."""

        async def find(*_: object, **__: object) -> list[Any]:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (name, 25)) for name in self.ends]

        loop: Any = asyncio.get_running_loop()
        loop.getaddrinfo = find
        return await dial.dial("mx.example.nz", 25, limit_seconds, self.steps.append)


def test_the_first_address_that_answers_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of the resolver; the steps are told as they begin."""
    refused = ConnectionRefusedError()
    addresses = Addresses(monkeypatch, refuses=refused, answers=None, other=None)
    with addresses.made:
        assert asyncio.run(addresses.dial()) is addresses.made
    assert addresses.tried == ["refuses", "answers"]
    assert addresses.steps == [FINDING, CONNECTING]


def test_a_silent_address_has_its_share_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of it where there are two; then the other is tried."""
    addresses = Addresses(monkeypatch, silent=None, answers=None)
    with addresses.made:
        assert asyncio.run(addresses.dial(limit_seconds=0.01)) is addresses.made
    assert addresses.tried == ["silent", "answers"]


def test_the_last_address_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where none takes the connection."""
    first, last = OSError("first"), OSError("last")
    addresses = Addresses(monkeypatch, first=first, last=last)
    with addresses.made, pytest.raises(OSError, match="last"):
        asyncio.run(addresses.dial())


def test_a_refused_connection_leaves_no_socket() -> None:
    """It is closed, or every failed connection would cost a file descriptor."""

    async def story() -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            with pytest.raises(ConnectionRefusedError):
                await dial.dial("127.0.0.1", probe.getsockname()[1], 60.0, lambda _: None)

    asyncio.run(story())  # an open socket would be a ResourceWarning, which is an error here
