"""From a server's name to a connection that is secured and logged in.

aiosmtplib does the work; one time limit, ``connection_timeout_ms``, covers all of it from DNS to the
end of AUTH. Every failure is a hold with a sentence: none of them is a mail's fault.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import nullcontext
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast

import aiosmtplib

from worker.errors import Held
from worker.replies import Stage, parse_reply
from worker.transports.credentials import Credentials
from worker.transports.dial import dial
from worker.transports.failures import Party, error_for, login_refused
from worker.transports.login import TokenRefused, choose
from worker.transports.reasons import (
    FINDING,
    GREETING,
    LOGGING_IN,
    SECURING,
    WAITING,
    lost,
    too_late,
)
from worker.transports.tls import context_for, is_implicit
from worker.transports.transaction import Extensions
from worker.transports.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from config.effective import EffectiveSettings
    from worker.transports.base import Tokens
    from worker.transports.login import Login

_UNKNOWN_COMMANDS = frozenset({500, 502, 504, 550})
_VERSION_NAMES = {
    "tls1.0": "TLSv1",
    "tls1.1": "TLSv1.1",
    "tls1.2": "TLSv1.2",
    "tls1.3": "TLSv1.3",
}
NAME_LOOKUP_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Connected:
    """A connection ready for mails, and what its server offers."""

    wire: Wire
    extensions: Extensions


class Connector:
    """Makes connections; knows by which name to greet servers.

    Args:
        ehlo_name: the name for EHLO; absent: this host's full name, or where it has none the
            address the connection comes from, as a literal (RFC 5321 4.1.4).
        tokens: where accounts with ``authentication_model = "oauth2"`` get their tokens.
        observe: told how many seconds a connection took (phase ``connect``).
        lookup: finds this host's full name; it may block.
        lookup_seconds: how long it is waited for, once.
        attempt: makes each connection; a test login hands in one that is watched.
    """

    def __init__(
        self,
        ehlo_name: str | None = None,
        *,
        tokens: Tokens | None = None,
        observe: Callable[[str, float], None] | None = None,
        lookup: Callable[[], str] = socket.getfqdn,
        lookup_seconds: float = NAME_LOOKUP_SECONDS,
        attempt: Callable[[EffectiveSettings, Party], Attempt] | None = None,
    ) -> None:
        self._attempt = attempt or Attempt
        self._observe = observe
        self._credentials = Credentials(tokens)
        self._ehlo_name = ehlo_name
        self._asked = ehlo_name is not None
        self._lookup = lookup
        self._lookup_seconds = lookup_seconds

    async def connect(
        self, settings: EffectiveSettings, lease: AbstractAsyncContextManager[None] | None = None
    ) -> Connected:
        """Connect, secure and log in.

        Where the server refuses an access token that was had some time ago, a new one is tried on
        a new connection, once.

        Args:
            lease: entered for each connection, and only when what it logs in with is there.

        Raises:
            Held: on the server, the account, the credential or the app registration; or as
                ``lease`` does.
        """
        party = Party.of(settings)
        lease = lease or nullcontext()
        login = await self._credentials.of(settings, party)
        try:
            async with lease:
                return await self._connect(settings, party, login)
        except Held as held:
            another = await self._credentials.after(held, login, settings, party)
            if another is None:
                raise
        async with lease:
            return await self._connect(settings, party, another)

    async def _connect(
        self, settings: EffectiveSettings, party: Party, login: Login | None
    ) -> Connected:
        started = perf_counter()
        attempt = self._attempt(settings, party)
        try:
            async with asyncio.timeout(settings.connection_timeout_ms / 1000):
                await self._learn_name()
                await attempt.open()
                await attempt.greet(self.name_for(attempt.client))
                if settings.transport_security != "none" and not is_implicit(settings):
                    await attempt.start_tls()
                    await attempt.greet(self.name_for(attempt.client))
                attempt.check_version()
                if login is not None:
                    await attempt.log_in(login)
                connected = attempt.finish()
        except TimeoutError as late:
            raise party.server_held(too_late(settings, attempt.doing)) from late
        except aiosmtplib.SMTPResponseException as refused:
            raise _refused(refused, attempt.stage, party) from refused
        except (aiosmtplib.SMTPException, OSError) as broken:
            raise party.server_held(lost(broken, settings, attempt.doing)) from broken
        finally:
            attempt.clean_up()
        if self._observe is not None:
            self._observe("connect", perf_counter() - started)
        return connected

    async def _learn_name(self) -> None:
        # getfqdn may ask DNS: once a process, not on the loop, and never for as long as a resolver
        # that does not answer would take; an address does as well (RFC 5321 4.1.3).
        if self._asked:
            return
        self._asked = True
        try:
            async with asyncio.timeout(self._lookup_seconds):
                name = await asyncio.to_thread(self._lookup)
        except TimeoutError:
            return
        known = "." in name and name.isascii() and not name.startswith("localhost")
        self._ehlo_name = name if known and not name.endswith((".arpa", ".local")) else None

    def name_for(self, client: aiosmtplib.SMTP) -> str:
        """Return the name to greet the server of this connection with."""
        if self._ehlo_name is not None:
            return self._ehlo_name
        address = str(client.get_transport_info("sockname")[0]).partition("%")[0]
        return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


class Attempt:
    """One connection on its way up; ``doing`` says how far it has come."""

    def __init__(self, settings: EffectiveSettings, party: Party) -> None:
        self.settings = settings
        self.party = party
        self.stage = Stage.CONNECT
        self.doing = FINDING
        self.client: aiosmtplib.SMTP
        self._transport: asyncio.Transport | None = None

    async def open(self) -> None:
        """Find the server, connect, and read its greeting; TLS too where it starts at once."""
        try:
            context = context_for(self.settings)
        except OSError as unreadable:
            wrong_file = isinstance(unreadable, ssl.SSLError)
            why = "it is no PEM file" if wrong_file else unreadable.strerror
            raise self.party.server_held(f"ca_file cannot be used: {why}") from unreadable
        address, limit_seconds = self.settings.server_address, self._limit_seconds
        dialled = await dial(address or "", self.settings.port, limit_seconds, self._now_doing)
        implicit = is_implicit(self.settings)
        self.doing = SECURING if implicit else WAITING
        self.client = self.new_client(
            hostname=address,
            sock=dialled,
            # Never asked for: greet() names us. It keeps aiosmtplib from asking DNS each time.
            local_hostname="localhost",
            # The limit for the whole is ours; theirs, for each step, must not come first.
            timeout=limit_seconds + 5,
            use_tls=implicit,
            # False, never None: None goes on in clear where the server does not offer STARTTLS.
            start_tls=False,
            tls_context=context,
        )
        try:
            await self.client.connect()
        except aiosmtplib.SMTPConnectError as broken:
            if isinstance(broken.__cause__, aiosmtplib.SMTPServerDisconnected):
                self.doing = WAITING
            raise
        self._transport = cast("asyncio.Transport", self.client.transport)

    def new_client(self, **options: Any) -> aiosmtplib.SMTP:
        """What speaks until the login is done."""
        return aiosmtplib.SMTP(**options)

    def new_wire(self, transport: asyncio.Transport) -> Wire:
        """What speaks after it."""
        return Wire(transport, asyncio.get_running_loop())

    @property
    def _limit_seconds(self) -> float:
        return self.settings.connection_timeout_ms / 1000

    def _now_doing(self, step: str) -> None:
        self.doing = step

    async def greet(self, name: str) -> None:
        """Say EHLO."""
        self.stage, self.doing = Stage.EHLO, GREETING
        try:
            await self.client.ehlo(hostname=name)
        except aiosmtplib.SMTPHeloError as refused:
            plain = self.settings.transport_security == "none"
            if refused.code not in _UNKNOWN_COMMANDS or not plain or not self.client.is_connected:
                raise
            # A server from before 1995: no extensions, so neither TLS nor a login.
            await self.client.helo(hostname=name)

    async def start_tls(self) -> None:
        """Say STARTTLS, and let TLS begin."""
        self.stage, self.doing = Stage.STARTTLS, SECURING
        if not self.client.supports_extension("starttls"):
            raise self.party.server_held(
                "the server offers no STARTTLS: where TLS starts with the connection, set "
                'tls_mode = "implicit"; without any TLS, transport_security = "none"'
            )
        await self.client.starttls()
        self._transport = cast("asyncio.Transport", self.client.transport)

    def check_version(self) -> None:
        """Make sure that the version in use is the one pinned; OpenSSL has seen to it already."""
        wanted = _VERSION_NAMES.get(str(self.settings.transport_security))
        if wanted is not None:
            used = self.client.get_transport_info("ssl_object").version()
            if used != wanted:
                raise self.party.server_held(f"TLS is {used}, the settings ask for {wanted}")

    async def log_in(self, login: Login) -> None:
        """Log in, once, in one way."""
        self.stage, self.doing = Stage.AUTH, LOGGING_IN
        offered = (
            self.client.server_auth_methods if self.client.supports_extension("auth") else None
        )
        secured = self.settings.transport_security != "none"
        mechanism = choose(login, offered, secured=secured, party=self.party)
        try:
            await login.run(self.client, mechanism)
        except aiosmtplib.SMTPResponseException as refused:
            refused.message = login.masked(refused.message)
            refused.args = refused.code, refused.message
            raise

    def finish(self) -> Connected:
        """Hand the connection over."""
        transport = self._transport
        assert transport is not None
        extensions = Extensions.parse(self.client.esmtp_extensions)
        wire = self.new_wire(transport)
        if wire.broken is not None:
            raise self.party.server_held(wire.broken)
        self._transport = None
        return Connected(wire, extensions)

    def clean_up(self) -> None:
        """Cut what was not handed over; safe to call at any time."""
        if self._transport is not None:
            self._transport.abort()


def _refused(refused: aiosmtplib.SMTPResponseException, stage: Stage, party: Party) -> Held:
    if refused.code < 0:
        return party.server_held("the server sent something that is no SMTP reply")
    reply = parse_reply(refused.code, refused.message.split("\n"))
    if isinstance(refused, aiosmtplib.SMTPAuthenticationError):
        complaint = refused.complaint if isinstance(refused, TokenRefused) else None
        error = login_refused(reply, party, complaint)
    else:
        error = error_for(reply, stage, party, mail_sent=False)
    if isinstance(error, Held):
        return error
    # A row of the table that speaks of a mail, met before there was one.
    return Held(error.reason, target=party.server_held("").target, reply=reply)
