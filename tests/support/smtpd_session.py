"""One session of the scripted SMTP server: commands in, scripted replies out."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import time
from typing import TYPE_CHECKING, cast

from tests.support.smtpd_script import Accepted, Action, Delay, Drop, Raw, Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.smtpd import SmtpServer

_LAST_IN_GROUP = frozenset({"EHLO", "HELO", "DATA", "STARTTLS", "AUTH", "NOOP", "QUIT"})
_CHALLENGE = b"<1896.697170952@postoffice.example.nz>"
_QUEUED = "250 2.0.0 Ok: queued"


class SessionProtocol(asyncio.Protocol):
    """One session: commands in, scripted replies out."""

    def __init__(self, server: SmtpServer) -> None:
        self._server = server
        self._session = Session(len(server.sessions) + 1)
        self._transport: asyncio.Transport
        self._buffer = b""
        self._out: list[bytes] = []
        self._busy = True
        self._content: bytearray | None = None
        self._whole = b""
        self._challenge: Callable[[str], None] | None = None
        self._greeted = False
        self._pending: list[asyncio.TimerHandle | asyncio.Task[None]] = []
        self._forget()

    def _forget(self) -> None:
        self._sender: str | None = None
        self._mail_command = ""
        self._recipients: list[str] = []

    # Called by the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet; after STARTTLS only take the new transport over."""
        self._transport = cast("asyncio.Transport", transport)
        self._server.live.add(self._transport)
        tls = transport.get_extra_info("ssl_object")
        if tls is not None:
            self._session.tls_version = tls.version()
        if self._greeted:
            return
        self._greeted = True
        self._server.sessions.append(self._session)
        self._answer("connect", "", "220 scripted.example.nz ESMTP")
        self._work()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget what was still to be done."""
        self._session.open = False
        self._server.live.discard(self._transport)
        for item in self._pending:
            item.cancel()

    def data_received(self, data: bytes) -> None:
        """Work, unless a delayed reply comes first."""
        self._buffer += data
        if not self._busy:
            self._work()

    def _work(self) -> None:
        while not self._busy and self._buffer:
            if self._content is not None:
                if not self._read_content():
                    break
            else:
                line, end, rest = self._buffer.partition(b"\r\n")
                if not end:
                    break
                self._buffer = rest
                self._line(line.decode("utf-8", "surrogateescape"))
        self._flush()

    def _flush(self) -> None:
        if self._out:
            data, self._out = b"".join(self._out), []
            self._transport.write(data)

    # Replies

    def _answer(self, step: str, argument: str, usual: str) -> None:
        action = self._server.action_for(step, argument) if self._server.rules else None
        self._do(step, usual if action is None else action, usual)

    def _do(self, step: str, action: Action, usual: str) -> None:
        self._busy = False
        if isinstance(action, str):
            self._say(step, action)
        elif isinstance(action, Raw):
            self._out.append(action.data)
        elif isinstance(action, Delay):
            self._busy = True
            self._flush()
            then = usual if action.then is None else action.then

            def go_on() -> None:
                self._do(step, then, usual)
                if not self._busy:
                    self._work()

            self._pending.append(self._server.loop.call_later(action.seconds, go_on))
        elif isinstance(action, Drop):
            if action.after is not None:
                self._say(step, action.after)
                self._flush()
                self._transport.close()
            else:
                self._flush()
                self._transport.abort()
            self._busy = True
        else:
            self._busy = True

    def _say(self, step: str, text: str) -> None:
        lines = text.split("\n")
        self._session.transcript += [f"S: {line}" for line in lines]
        self._out.append("".join(f"{line}\r\n" for line in lines).encode())
        if step == "dot" and text.startswith("2"):
            self._keep()
        elif step == "dot":
            self._forget()  # a refusal of the mail, too, ends the transaction (RFC 5321 4.1.1.4)
        if step == "data" and text.startswith("354"):
            self._content = bytearray(b"\r\n")
        if text.startswith("421") or step == "quit":
            self._flush()
            self._transport.close()
            self._busy = True

    # Content

    def _read_content(self) -> bool:
        """Take content from the buffer; return whether it has ended."""
        assert self._content is not None
        searched = max(len(self._content) - 4, 0)
        self._session.content_bytes += len(self._buffer)
        self._content += self._buffer
        self._buffer = b""
        end = self._content.find(b"\r\n.\r\n", searched)
        if end < 0:
            return False
        self._buffer = bytes(self._content[end + 5 :])
        # The first CRLF is the one that ended DATA (RFC 5321 4.1.1.4).
        whole = bytes(self._content[: end + 2])
        self._whole = whole.replace(b"\r\n.", b"\r\n")[2:]
        self._content = None
        delay = self._server.dot_delay_seconds()
        if delay:
            self._do("dot", Delay(delay), _QUEUED)
        else:
            mail = self._whole.decode("utf-8", "replace") if self._server.rules else ""
            self._answer("dot", mail, _QUEUED)
        return True

    def _keep(self) -> None:
        accepted = Accepted(
            self._sender or "",
            self._recipients,
            self._whole,
            time.monotonic(),
            self._session,
            self._mail_command,
        )
        self._forget()
        self._server.accepted(accepted)

    # Commands

    def _line(self, line: str) -> None:
        if self._challenge is not None:
            self._session.transcript.append("C: (credentials)")
            challenge, self._challenge = self._challenge, None
            challenge(line)
            return
        verb = line[:4].upper() if line[:8].upper() != "STARTTLS" else "STARTTLS"
        shown = line if verb != "AUTH" else " ".join(line.split()[:2])
        self._session.transcript.append(f"C: {shown}")
        if self._buffer and (verb in _LAST_IN_GROUP or "PIPELINING" not in self._server.extensions):
            self._server.violations.append(f"{verb} was followed before its reply")
        handlers: dict[str, Callable[[str], None]] = {
            "EHLO": self._ehlo,
            "HELO": self._helo,
            "STARTTLS": self._starttls,
            "AUTH": self._auth,
            "MAIL": self._mail,
            "RCPT": self._rcpt,
            "DATA": self._data,
            "RSET": self._rset,
            "NOOP": lambda line: self._answer("noop", line, "250 2.0.0 Ok"),
            "QUIT": lambda line: self._answer("quit", line, "221 2.0.0 Bye"),
        }
        handler = handlers.get(verb)
        if handler is None:
            self._answer("unknown", line, "502 5.5.2 Error: command not recognized")
        else:
            handler(line)

    def _ehlo(self, line: str) -> None:
        self._forget()
        offers = ["scripted.example.nz", *self._server.extensions]
        secured = self._session.tls_version is not None
        if self._server.tls is not None and not secured:
            offers.append("STARTTLS")
        if self._server.users and (secured or self._server.auth_in_clear):
            offers.append(f"AUTH {' '.join(self._server.mechanisms)}")
        lines = [f"250-{offer}" for offer in offers[:-1]] + [f"250 {offers[-1]}"]
        self._answer("ehlo", line, "\n".join(lines))

    def _helo(self, line: str) -> None:
        self._answer("helo", line, "250 scripted.example.nz")

    def _rset(self, line: str) -> None:
        self._forget()
        self._answer("rset", line, "250 2.0.0 Ok")

    def _starttls(self, line: str) -> None:
        if self._server.tls is None:
            self._answer("starttls", line, "502 5.5.1 no TLS here")
            return
        action = self._server.action_for("starttls", line)
        if action is not None:
            self._do("starttls", action, "220 2.0.0 Ready to start TLS")
            return
        self._say("starttls", "220 2.0.0 Ready to start TLS")
        self._flush()
        self._busy = True
        self._buffer = b""
        self._pending.append(self._server.loop.create_task(self._secure()))

    async def _secure(self) -> None:
        assert self._server.tls is not None
        self._server.live.discard(self._transport)
        try:
            secured = await self._server.loop.start_tls(
                self._transport, self, self._server.tls, server_side=True
            )
        except OSError as error:
            self._session.transcript.append(f"S: (TLS failed: {error})")
            return
        if secured is not None:
            self.connection_made(secured)
            self._busy = False
            self._work()

    def _auth(self, line: str) -> None:
        words = line.split()
        mechanism = words[1].upper()
        initial = words[2] if len(words) > 2 else None
        if mechanism == "PLAIN":
            self._ask("", self._plain, initial)
        elif mechanism == "LOGIN":
            self._ask("VXNlcm5hbWU6", self._login_user, initial)
        else:
            self._ask(base64.b64encode(_CHALLENGE).decode(), self._cram, initial)

    def _ask(self, challenge: str, then: Callable[[str], None], initial: str | None) -> None:
        if initial is not None:
            then(initial)
            return
        self._challenge = then
        self._do("challenge", f"334 {challenge}", "")

    def _plain(self, response: str) -> None:
        _, user, password = base64.b64decode(response).decode().split("\0")
        self._check(user, password == self._server.users.get(user))

    def _login_user(self, response: str) -> None:
        user = base64.b64decode(response).decode()

        def with_password(line: str) -> None:
            password = base64.b64decode(line).decode()
            self._check(user, password == self._server.users.get(user))

        self._ask("UGFzc3dvcmQ6", with_password, None)

    def _cram(self, response: str) -> None:
        user, _, digest = base64.b64decode(response).decode().partition(" ")
        secret = self._server.users.get(user, "").encode()
        right = hmac.new(secret, _CHALLENGE, hashlib.md5).hexdigest()
        self._check(user, hmac.compare_digest(digest, right))

    def _check(self, user: str, right: bool) -> None:
        if right:
            self._session.user = user
            self._answer("auth", user, "235 2.7.0 Authentication successful")
        else:
            self._answer("auth", user, "535 5.7.8 Error: authentication failed")

    def _mail(self, line: str) -> None:
        if self._sender is not None:
            self._answer("mail", line, "503 5.5.1 Error: nested MAIL command")
            return
        action = self._server.action_for("mail", line) if self._server.rules else None
        if not isinstance(action, str) or action.startswith("2"):
            self._sender = line[line.find("<") + 1 : line.find(">")]
            self._mail_command = line
        self._do("mail", "250 2.1.0 Ok" if action is None else action, "250 2.1.0 Ok")

    def _rcpt(self, line: str) -> None:
        if self._sender is None:
            self._answer("rcpt", line, "503 5.5.1 Error: need MAIL command")
            return
        action = self._server.action_for("rcpt", line) if self._server.rules else None
        if not isinstance(action, str) or action.startswith("2"):
            self._recipients.append(line[line.find("<") + 1 : line.find(">")])
        self._do("rcpt", "250 2.1.5 Ok" if action is None else action, "250 2.1.5 Ok")

    def _data(self, line: str) -> None:
        usual = "354 End data with <CR><LF>.<CR><LF>"
        if self._sender is None or not self._recipients:
            usual = "503 5.5.1 Error: need RCPT command"
        self._answer("data", line, usual)
