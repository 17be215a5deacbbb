"""From a server's name to a connection that is secured and logged in.

aiosmtplib does the work; one time limit, ``connection_timeout_ms``, covers all of it from DNS to the
end of AUTH. Every failure is a hold with a sentence: none of them is a mail's fault.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, cast

import aiosmtplib

from worker.errors import Held
from worker.replies import Stage, parse_reply
from worker.transports.failures import Party, error_for
from worker.transports.tls import context_for, is_implicit
from worker.transports.transaction import Extensions
from worker.transports.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from config.effective import EffectiveSettings

_UNKNOWN_COMMANDS = frozenset({500, 502, 504, 550})
_VERSION_NAMES = {"tls1.2": "TLSv1.2", "tls1.3": "TLSv1.3"}


@dataclass(frozen=True, slots=True)
class Connected:
    """A connection ready for mails, and what its server offers."""

    wire: Wire
    extensions: Extensions


NAME_LOOKUP_SECONDS = 1.0


class Connector:
    """Makes connections; knows by which name to greet servers.

    Args:
        ehlo_name: the name for EHLO; absent: this host's full name, or where it has none the
            address the connection comes from, as a literal (RFC 5321 4.1.4).
        observe: told how many seconds a connection took (phase ``connect``).
        lookup: finds this host's full name; it may block.
        lookup_seconds: how long it is waited for, once.
    """

    def __init__(
        self,
        ehlo_name: str | None = None,
        *,
        observe: Callable[[str, float], None] | None = None,
        lookup: Callable[[], str] = socket.getfqdn,
        lookup_seconds: float = NAME_LOOKUP_SECONDS,
    ) -> None:
        self._observe = observe
        self._ehlo_name = ehlo_name
        self._asked = ehlo_name is not None
        self._lookup = lookup
        self._lookup_seconds = lookup_seconds

    async def connect(self, settings: EffectiveSettings) -> Connected:
        """Connect, secure and log in.

        Raises:
            Held: on the server, the account or the credential, with a sentence.
        """
        party = Party.of(settings)
        credentials = _credentials(settings, party)
        started = perf_counter()
        limit_seconds = settings.connection_timeout_ms / 1000
        attempt = _Attempt(settings, party)
        try:
            async with asyncio.timeout(limit_seconds):
                await self._learn_name()
                await attempt.open(limit_seconds)
                await attempt.greet(self._name_for(attempt.client))
                if settings.transport_security != "none" and not is_implicit(settings):
                    await attempt.start_tls()
                    await attempt.greet(self._name_for(attempt.client))
                attempt.check_version()
                if credentials is not None:
                    await attempt.log_in(*credentials)
                connected = attempt.finish()
        except TimeoutError as late:
            reason = f"no answer within {settings.connection_timeout_ms} ms while {attempt.doing}"
            raise party.server_held(reason) from late
        except ssl.SSLError as broken:
            raise party.server_held(_tls_sentence(broken, settings)) from broken
        except aiosmtplib.SMTPAuthenticationError as refused:
            raise _refused(refused, Stage.AUTH, party) from refused
        except aiosmtplib.SMTPResponseException as refused:
            raise _refused(refused, attempt.stage, party) from refused
        except (aiosmtplib.SMTPException, OSError) as broken:
            raise party.server_held(_sentence(broken, settings, attempt)) from broken
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

    def _name_for(self, client: aiosmtplib.SMTP) -> str:
        if self._ehlo_name is not None:
            return self._ehlo_name
        address = str(client.get_transport_info("sockname")[0]).partition("%")[0]
        return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


class _Attempt:
    """One connection on its way up."""

    def __init__(self, settings: EffectiveSettings, party: Party) -> None:
        self.settings = settings
        self.party = party
        self.stage = Stage.CONNECT
        self.doing = "connecting"
        self.client: aiosmtplib.SMTP
        self._transport: asyncio.Transport | None = None

    async def open(self, limit_seconds: float) -> None:
        try:
            context = context_for(self.settings)
        except OSError as unreadable:
            wrong_file = isinstance(unreadable, ssl.SSLError)
            why = "it is no PEM file" if wrong_file else unreadable.strerror
            raise self.party.server_held(f"ca_file cannot be used: {why}") from unreadable
        self.client = aiosmtplib.SMTP(
            hostname=self.settings.server_address,
            port=self.settings.port,
            # Never asked for: greet() names us. It keeps aiosmtplib from asking DNS each time.
            local_hostname="localhost",
            # The limit for the whole is ours; theirs, for each step, must not come first.
            timeout=limit_seconds + 5,
            use_tls=is_implicit(self.settings),
            # False, never None: None goes on in clear where the server does not offer STARTTLS.
            start_tls=False,
            tls_context=context,
        )
        await self.client.connect()
        self._transport = cast("asyncio.Transport", self.client.transport)

    async def greet(self, name: str) -> None:
        self.stage, self.doing = Stage.EHLO, "greeting"
        try:
            await self.client.ehlo(hostname=name)
        except aiosmtplib.SMTPHeloError as refused:
            plain = self.settings.transport_security == "none"
            if refused.code not in _UNKNOWN_COMMANDS or not plain or not self.client.is_connected:
                raise
            # A server from before 1995: no extensions, so neither TLS nor a login.
            await self.client.helo(hostname=name)

    async def start_tls(self) -> None:
        self.stage, self.doing = Stage.STARTTLS, "starting TLS"
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

    async def log_in(self, username: str, password: str) -> None:
        self.stage, self.doing = Stage.AUTH, "logging in"
        offered = self.client.server_auth_methods
        if not self.client.supports_extension("auth"):
            raise self.party.account_held(
                f"{self.party.server} offers no login"
                + (" without TLS" if self.settings.transport_security == "none" else "")
                + ': set authorisation = "none" if it needs none'
            )
        # One way, chosen once: trying the next after a refusal would count as another failed
        # login and lock accounts.
        if "plain" in offered:
            await self.client.auth_plain(username, password)
        elif "login" in offered:
            await self.client.auth_login(username, password)
        elif "cram-md5" in offered:
            await self.client.auth_crammd5(username, password)
        else:
            raise self.party.account_held(
                f"{self.party.server} offers only {', '.join(offered) or 'unnamed ways'} to log in; "
                "with a password this worker knows PLAIN, LOGIN and CRAM-MD5"
            )

    def finish(self) -> Connected:
        transport = self._transport
        assert transport is not None
        extensions = Extensions.parse(self.client.esmtp_extensions)
        wire = Wire(transport, asyncio.get_running_loop())
        if wire.broken is not None:
            raise self.party.server_held(wire.broken)
        self._transport = None
        return Connected(wire, extensions)

    def clean_up(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def _credentials(settings: EffectiveSettings, party: Party) -> tuple[str, str] | None:
    """Return username and password, or None for ``authorisation = "none"``."""
    authorisation = str(settings.authorisation)
    if authorisation == "none":
        return None
    password = settings.password.get_secret_value() if settings.password is not None else ""
    if not settings.username:
        raise party.account_held(f'authorisation = "{authorisation}" needs a username')
    if not password and authorisation == "required":
        raise party.account_held('authorisation = "required" needs a password')
    if settings.transport_security == "none" and not settings.allow_cleartext_password:
        raise party.account_held(
            "no password is sent without TLS: set transport_security, or "
            "allow_cleartext_password = true"
        )
    return settings.username, password


def _refused(refused: aiosmtplib.SMTPResponseException, stage: Stage, party: Party) -> Held:
    if refused.code < 0:
        return party.server_held("the server sent something that is no SMTP reply")
    reply = parse_reply(refused.code, refused.message.split("\n"))
    error = error_for(reply, stage, party, mail_sent=False)
    if isinstance(error, Held):
        return error
    # A row of the table that speaks of a mail, met before there was one.
    return Held(error.reason, target=party.server_held("").target, reply=reply)


def _tls_sentence(broken: ssl.SSLError, settings: EffectiveSettings) -> str:
    if isinstance(broken, ssl.SSLCertVerificationError):
        return (
            f"the server's certificate is not trusted ({broken.verify_message.rstrip('.')}): "
            "set server_address to a name in it, or ca_file to its authority"
        )
    security = settings.transport_security
    hint = (
        'the server does not start with TLS here: set tls_mode = "starttls"'
        if broken.reason == "WRONG_VERSION_NUMBER" and is_implicit(settings)
        else f'transport_security is "{security}"'
    )
    return f"TLS failed ({(broken.reason or 'no reason given').replace('_', ' ').lower()}): {hint}"


def _sentence(broken: Exception, settings: EffectiveSettings, attempt: _Attempt) -> str:
    cause = broken.__cause__
    if isinstance(cause, ssl.SSLError):
        return _tls_sentence(cause, settings)
    if isinstance(cause, socket.gaierror):
        return f"the name cannot be found ({cause.strerror})"
    if isinstance(cause, ConnectionRefusedError):
        return "the connection was refused: nothing listens on that port"
    if isinstance(cause, OSError) and cause.strerror:
        return f"no connection: {cause.strerror}"
    closed = f"the server closed the connection while {attempt.doing}"
    if attempt.stage is Stage.STARTTLS:
        # Many servers say nothing when no version suits both.
        return f'{closed}: transport_security is "{settings.transport_security}"'
    return closed
