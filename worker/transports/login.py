"""How an account proves who it is: with a password, or with an access token.

One mechanism is chosen, once: trying the next after a refusal would count as another failed login,
and lock accounts.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import aiosmtplib
from aiosmtplib.auth import auth_login_encode, auth_plain_encode, auth_xoauth2_encode

from worker.telemetry.masking import HIDDEN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.transports.failures import Party

_GO_ON, _LOGGED_IN = 334, 235
_COMPLAINTS = {"status": re.compile(r"\d{3}"), "schemes": re.compile(r"[A-Za-z0-9 ,_-]{1,40}")}


_RUN = re.compile(r"[A-Za-z0-9+/=._-]{4,}")
_PART = 16
"""So many characters of what was sent are no accident: servers cut what they repeat."""
_WORD = 6
"""A shorter password would be found in every second word."""


class TokenRefused(aiosmtplib.SMTPAuthenticationError):
    """The server does not take the token.

    Attributes:
        complaint: what it says of it beside its reply, such as ``status 401, schemes bearer``.
    """

    def __init__(self, code: int, message: str, complaint: str) -> None:
        super().__init__(code, message)
        self.complaint = complaint


@dataclass(frozen=True, slots=True, repr=False)
class PasswordLogin:
    """A user name and a password, which may be empty."""

    mechanisms: ClassVar[tuple[str, ...]] = ("plain", "login", "cram-md5")
    needs: ClassVar[str] = "with a password this worker knows PLAIN, LOGIN and CRAM-MD5"

    username: str
    password: str

    def masked(self, said: str) -> str:
        """Return a server's words without the password, should they repeat it."""
        sent = auth_plain_encode(self.username, self.password).decode()
        word = auth_login_encode(self.username, self.password)[1].decode()
        return _masked(said, self.password, sent, word)

    async def run(self, client: aiosmtplib.SMTP, mechanism: str) -> None:
        """Log in.

        Raises:
            aiosmtplib.SMTPAuthenticationError: the server refused.
        """
        if mechanism == "plain":
            await client.auth_plain(self.username, self.password)
        elif mechanism == "login":
            await client.auth_login(self.username, self.password)
        else:
            await client.auth_crammd5(self.username, self.password)


@dataclass(frozen=True, slots=True, repr=False)
class TokenLogin:
    """A mailbox and an access token for it."""

    mechanisms: ClassVar[tuple[str, ...]] = ("xoauth2",)
    needs: ClassVar[str] = (
        'authentication_model = "oauth2" needs XOAUTH2: set "basic" where it wants a password'
    )

    mailbox: str
    token: str

    def masked(self, said: str) -> str:
        """Return a server's words without the token, should they repeat some of it."""
        sent = auth_xoauth2_encode(self.mailbox, self.token).decode()
        return _masked(said, self.token, sent)

    async def run(self, client: aiosmtplib.SMTP, mechanism: str) -> None:  # noqa: ARG002 - it is the one
        """Log in with XOAUTH2, in two steps.

        The token never comes in the line of the AUTH command, as aiosmtplib would send it: a client
        must not do that where the line gets longer than a command may be (RFC 4954 4), and Postfix
        takes no more than 2,048 characters. On a refusal the server first says why, in JSON, and
        wants an empty line for it.
        (learn.microsoft.com/exchange/client-developer/legacy-protocols/how-to-authenticate-an-imap-pop-smtp-application-by-using-oauth)

        Raises:
            TokenRefused: the server refused.
        """
        complaint = ""
        reply = await client.execute_command(b"AUTH", b"XOAUTH2")
        if reply.code == _GO_ON:
            reply = await client.execute_command(auth_xoauth2_encode(self.mailbox, self.token))
            if reply.code == _GO_ON:
                complaint = complaint_of(reply.message)
                reply = await client.execute_command(b"")
        if reply.code != _LOGGED_IN:
            raise TokenRefused(reply.code, reply.message, complaint)


Login = PasswordLogin | TokenLogin


def _masked(said: str, secret: str, *sent: str) -> str:
    """Hide a secret, what it was sent as, and longer parts of either."""
    if len(secret) >= _WORD:
        said = said.replace(secret, HIDDEN)

    def without(run: re.Match[str]) -> str:
        whole, part = run[0] in sent, len(run[0]) >= _PART
        return (
            HIDDEN
            if whole or (part and any(run[0] in each for each in (secret, *sent)))
            else run[0]
        )

    return _RUN.sub(without, said)


def complaint_of(challenge: str) -> str:
    """Return what a refusal's JSON says: its status and schemes, and nothing else it may hold."""
    try:
        said = json.loads(base64.b64decode(challenge, validate=True))
    except (ValueError, RecursionError):  # no base64, no text, no JSON, or too deep
        return ""
    if not isinstance(said, dict):
        return ""
    return ", ".join(
        f"{name} {said[name]}"
        for name, form in _COMPLAINTS.items()
        if form.fullmatch(str(said.get(name, "")))
    )


def choose(login: Login, offered: Sequence[str] | None, *, secured: bool, party: Party) -> str:
    """Return the one mechanism that will be tried.

    Args:
        offered: what the server offers; None where it offers no login at all.
        secured: whether the connection has TLS.

    Raises:
        Held: on the account: there is none that both know.
    """
    if offered is None:
        where = "" if secured else " without TLS"
        advice = (
            'set authorisation = "none" if it needs none'
            if isinstance(login, PasswordLogin)
            else 'authentication_model = "oauth2" needs a server that has one'
        )
        raise party.account_held(f"{party.server} offers no login{where}: {advice}")
    for mechanism in login.mechanisms:
        if mechanism in offered:
            return mechanism
    named = ", ".join(offered) or "unnamed ways"
    raise party.account_held(f"{party.server} offers only {named} to log in; {login.needs}")
