"""The delivery's own connection and transaction, with everything that is said written down."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any, Final

import aiosmtplib

from worker.transports.certificate import described
from worker.transports.connect import Attempt
from worker.transports.login import complaint_of
from worker.transports.reasons import (
    CONNECTING,
    FINDING,
    GREETING,
    LOGGING_IN,
    SECURING,
    WAITING,
)
from worker.transports.wire import Wire

if TYPE_CHECKING:
    from config.effective import EffectiveSettings
    from worker.transports.conversation import Conversation
    from worker.transports.failures import Party
    from worker.transports.login import Login

STEPS: Final = {
    FINDING: "DNS",
    CONNECTING: "TCP",
    WAITING: "greeting",
    SECURING: "TLS",
    GREETING: "EHLO",
    LOGGING_IN: "AUTH",
}
_CHALLENGE: Final = 334
_START_INPUT: Final = 354


class WatchedAttempt(Attempt):
    """A connection on its way up, watched."""

    def __init__(
        self, settings: EffectiveSettings, party: Party, conversation: Conversation
    ) -> None:
        self._conversation = conversation
        self._doing = ""
        super().__init__(settings, party)

    @property
    def doing(self) -> str:
        """The step under way; each one is written down as it begins."""
        return self._doing

    @doing.setter
    def doing(self, step: str) -> None:
        if step == CONNECTING:
            self._conversation.note(", ".join(self._addresses) or "an address")
        self._doing = step
        self._conversation.step(STEPS[step])

    async def open(self) -> None:
        """Connect, and say where to and how."""
        self._addresses = await _addresses(self.settings)
        await super().open()

    async def start_tls(self) -> None:
        """Start TLS, and say which and with whom."""
        await super().start_tls()
        self._note_tls()

    async def log_in(self, login: Login) -> None:
        """Log in, and say which ways there were."""
        self._conversation.step(STEPS[LOGGING_IN])
        offered = ", ".join(self.client.server_auth_methods).upper()
        self._conversation.note(f"offered: {offered or 'nothing'}")
        await super().log_in(login)

    def new_client(self, **options: Any) -> aiosmtplib.SMTP:
        """A client that is watched."""
        peer = options["sock"].getpeername()
        self._conversation.step(STEPS[CONNECTING])
        self._conversation.note(f"connected to {peer[0]} port {peer[1]}")
        self._conversation.step(STEPS[self._doing])
        return _Client(self._conversation, self._note_tls, **options)

    def new_wire(self, transport: asyncio.Transport) -> Wire:
        """A wire that is watched."""
        return _Wire(transport, asyncio.get_running_loop(), self._conversation)

    def _note_tls(self) -> None:
        secured = self.client.get_transport_info("ssl_object")
        cipher = secured.cipher()
        self._conversation.note(f"{secured.version()}, {cipher[0] if cipher else 'no cipher'}")
        verified = "verified" if self.settings.verify_certificate else "NOT verified"
        presented = secured.getpeercert(binary_form=True)
        for line in described(presented) if presented else ():
            self._conversation.note(f"{line}, {verified}" if "until" in line else line)


class _Client(aiosmtplib.SMTP):
    """What speaks until the login is done, watched."""

    def __init__(self, conversation: Conversation, note_tls: Any, **options: Any) -> None:
        super().__init__(**options)
        self._conversation = conversation
        self._note_tls = note_tls

    async def connect(self, **options: Any) -> aiosmtplib.SMTPResponse:
        """Connect, and write the greeting down."""
        try:
            greeting = await super().connect(**options)
        except aiosmtplib.SMTPConnectResponseError as refused:
            self._conversation.step("greeting")
            self._conversation.server(refused.code, refused.message)
            raise
        if self.use_tls:
            self._note_tls()
        self._conversation.step("greeting")
        self._conversation.server(greeting.code, greeting.message)
        return greeting

    async def starttls(self, **options: Any) -> aiosmtplib.SMTPResponse:
        """Say STARTTLS."""
        self._conversation.client("STARTTLS")
        try:
            response = await super().starttls(**options)
        except aiosmtplib.SMTPResponseException as refused:
            self._conversation.server(refused.code, refused.message)
            raise
        self._conversation.server(response.code, response.message)
        return response

    async def execute_command(self, *args: bytes, **options: Any) -> aiosmtplib.SMTPResponse:
        """Say something, and write down what was answered."""
        self._conversation.client(b" ".join(args).decode("utf-8", "replace"))
        response = await super().execute_command(*args, **options)
        complaint = complaint_of(response.message) if response.code == _CHALLENGE else ""
        self._conversation.server(response.code, response.message, challenge=complaint)
        return response


class _Wire(Wire):
    """What speaks after the login, watched; of a mail's content only the length is shown."""

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        conversation: Conversation,
    ) -> None:
        self._conversation = conversation
        self._said: list[str] = []
        self._content_octets: int | None = None
        super().__init__(transport, loop)

    def write(self, data: bytes | memoryview) -> None:
        """Send, and write down what."""
        super().write(data)
        if self._content_octets is not None:
            self._content_octets += len(data)
            return
        for line in bytes(data).decode("utf-8", "replace").splitlines():
            self._conversation.client(line)

    def _line(self, line: bytes) -> bool:
        whole = super()._line(line)
        self._said.append(line[4:].decode("utf-8", "replace"))
        code, is_last = line[:3], line[3:4] != b"-"
        if is_last and code.isdigit():
            if self._content_octets:
                self._conversation.note(f"C: ({self._content_octets:,} bytes of the mail)")
            self._content_octets = 0 if int(code) == _START_INPUT else None
            self._conversation.server(int(code), "\n".join(self._said))
            self._said = []
        return whole

    def quit(self, grace_seconds: float = 2.0) -> None:
        """Say goodbye."""
        if self.broken is None:
            self._conversation.client("QUIT")
        super().quit(grace_seconds)


async def _addresses(settings: EffectiveSettings) -> list[str]:
    """What the name stands for; the connection itself says so where it stands for nothing."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(
            settings.server_address or "", settings.port, type=socket.SOCK_STREAM
        )
    except OSError:
        return []
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
