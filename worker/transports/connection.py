"""A kept connection: what it is kept under, how long, and the check before it is used again."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from worker.transports.wire import ConnectionBroken

if TYPE_CHECKING:
    from config.effective import EffectiveSettings
    from worker.transports.transaction import Extensions
    from worker.transports.wire import Wire

_NOOP_TIMEOUT_SECONDS = 5.0


class Leases(Protocol):
    """The fleet-wide cap on an account's connections (a scope whose window is 0)."""

    async def acquire(self, account: str, limit: int) -> str:
        """Return a token for one more connection, or raise ``Held`` where the cap is reached."""

    async def release(self, token: str) -> None:
        """Give the token back when its connection has ended."""


class Key(NamedTuple):
    """What two mails must share to go over one connection."""

    server: str
    account: str
    credential: str
    authentication_model: str
    mailbox: str
    authorisation: str
    security: str
    tls_mode: str
    verify_certificate: bool
    ca_file: str
    allow_cleartext_password: bool

    @classmethod
    def of(cls, settings: EffectiveSettings) -> Key:
        """Return the key of a job's settings."""
        return cls(
            settings.server,
            settings.account,
            settings.credential,
            settings.authentication_model,
            settings.mailbox if settings.authentication_model == "oauth2" else "",
            settings.authorisation,
            str(settings.transport_security),
            settings.tls_mode,
            settings.verify_certificate,
            str(settings.ca_file or ""),
            settings.allow_cleartext_password,
        )


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many connections, and how long they live."""

    per_server: int = 64
    per_account: int = 64
    age_seconds: float = 300.0
    idle_seconds: float = 60.0
    leased_idle_seconds: float = 2.0
    noop_after_seconds: float = 10.0


@dataclass(slots=True, eq=False)
class Connection:
    """One kept connection.

    Attributes:
        left_open: its last transaction was left open; the next says RSET first.
        uses: how many mails have gone or tried to go over it.
    """

    key: Key
    wire: Wire
    extensions: Extensions
    opened_at: float
    idle_at: float
    token: str | None = None
    left_open: bool = False
    uses: int = 0

    async def answers(self) -> bool:
        """Whether the server still answers a NOOP; the connection is cut where it does not."""
        try:
            self.wire.write(b"NOOP\r\n")
            reply = await self.wire.reply(_NOOP_TIMEOUT_SECONDS)
        except ConnectionBroken:
            self.wire.abort()
            return False
        except asyncio.CancelledError:
            self.wire.abort()
            raise
        well = reply.code // 100 == 2 and self.wire.usable  # noqa: PLR2004 - 2yz: well
        if not well:
            self.wire.abort()
        return well
