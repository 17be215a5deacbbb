"""A scripted SMTP server that misbehaves on command, in a thread of its own.

It needs nothing but the standard library, so that demos and load proofs can use it too. It records
every mail with the time of its acceptance, every session's transcript, and every breach of RFC 2920
(a command sent on before the reply it has to wait for).

::

    with SmtpServer() as server:
        server.on("rcpt", "550 5.1.1 no such user", when="bob@")
        server.on("dot", Drop(), times=1)
        ... connect to 127.0.0.1, server.port ...
        assert server.mails[0].recipients == ["jane@example.nz"]

Steps: connect, ehlo, helo, starttls, auth, mail, rcpt, data, dot (the reply to the mail), rset, noop, quit.
"""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Self

from tests.support.smtpd_script import Accepted, Action, Delay, Drop, Raw, Rule, Session, Silence
from tests.support.smtpd_session import SessionProtocol
from tests.support.waiting import GENEROUS_SECONDS

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable


__all__ = [
    "EXTENSIONS",
    "Accepted",
    "Delay",
    "Drop",
    "Raw",
    "Session",
    "Silence",
    "SmtpServer",
]

EXTENSIONS = ("PIPELINING", "SIZE 10485760", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES")


class SmtpServer:
    """A server on 127.0.0.1 and a free port, for the length of a ``with`` block.

    Args:
        extensions: what EHLO offers, without STARTTLS and AUTH.
        tls: a server context: STARTTLS is offered, or with ``implicit`` TLS starts at once.
        users: who may log in; with them AUTH is offered.
        mechanisms: the ways to log in.
        auth_in_clear: offer AUTH without TLS.
    """

    def __init__(
        self,
        *,
        extensions: tuple[str, ...] = EXTENSIONS,
        tls: ssl.SSLContext | None = None,
        implicit: bool = False,
        users: dict[str, str] | None = None,
        mechanisms: tuple[str, ...] = ("PLAIN", "LOGIN", "CRAM-MD5"),
        auth_in_clear: bool = False,
        port: int = 0,
    ) -> None:
        self.extensions = extensions
        self.tls = tls
        self.implicit = implicit
        self.users = users or {}
        self.mechanisms = mechanisms
        self.auth_in_clear = auth_in_clear
        self.rules: list[Rule] = []
        self.sessions: list[Session] = []
        self.mails: list[Accepted] = []
        self.violations: list[str] = []
        self.port = port
        self.loop = asyncio.new_event_loop()
        self.live: set[asyncio.Transport] = set()
        self._thread = threading.Thread(target=self._run, name="smtpd", daemon=True)
        self._ready = threading.Event()
        self._stop = asyncio.Event()

    def on(self, step: str, action: Action, *, when: str = "", times: int | None = None) -> None:
        """Do ``action`` at ``step`` where the command holds ``when``; the first rule that fits.

        At ``dot`` it is the whole mail that must hold it.
        """
        self.rules.append(Rule(step, action, when, times))

    def action_for(self, step: str, argument: str) -> Action | None:
        """Return what the script says, and count it."""
        for rule in self.rules:
            if rule.step == step and rule.when in argument and rule.times != 0:
                if rule.times is not None:
                    rule.times -= 1
                return rule.action
        return None

    def accepted(self, mail: Accepted) -> None:
        """Keep a mail whose acceptance was just sent; sinks put their own record here."""
        self.mails.append(mail)

    def dot_delay_seconds(self) -> float:
        """Return how long to wait before the reply to a mail; sinks make it random."""
        return 0.0

    @property
    def open_sessions(self) -> list[Session]:
        """The connections that stand now."""
        return [session for session in self.sessions if session.open]

    def drop_all(self) -> None:
        """Cut every connection, as a restart of the server does."""
        self._to_all(lambda transport: transport.abort())

    def say_to_all(self, line: str) -> None:
        """Send a line to every connection unasked (a 421 before closing)."""
        data = f"{line}\r\n".encode()
        self._to_all(lambda transport: transport.write(data))

    def _to_all(self, act: Callable[[asyncio.Transport], None]) -> None:
        def go() -> None:
            for transport in list(self.live):
                act(transport)

        self.loop.call_soon_threadsafe(go)

    def wait_until(
        self, done: Callable[[], bool], timeout_seconds: float = GENEROUS_SECONDS
    ) -> None:
        """Wait for something that the server will have seen soon.

        Raises:
            TimeoutError: it has not.
        """
        deadline = time.monotonic() + timeout_seconds
        while not done():
            if time.monotonic() > deadline:
                raise TimeoutError("the server has not seen it")
            time.sleep(0.002)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10), "the scripted server did not start"
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_until_complete(self._serve())
        finally:
            self.loop.close()

    async def _serve(self) -> None:
        context = self.tls if self.implicit else None
        server = await self.loop.create_server(
            lambda: SessionProtocol(self), "127.0.0.1", self.port, ssl=context, backlog=1024
        )
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for transport in list(self.live):
            transport.abort()
        await server.wait_closed()
        await asyncio.sleep(0)
