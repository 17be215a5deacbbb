"""What every transport is: one method that delivers one mail, and a way to close."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from config.effective import EffectiveSettings
    from worker.outcome import Transmission

Begin = Callable[[], Awaitable[None]]
"""Called when the server has accepted recipients and nothing of the mail has left. It returns when
the ledger has committed; if it raises, no byte of the mail may leave."""


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail ready to leave: rendered once, the same bytes in every attempt.

    Attributes:
        job_id: for logs.
        sender: the envelope's MAIL FROM address, domain in A-labels.
        recipients: the envelope's RCPT TO addresses still to be served, domains in A-labels.
        content: the whole RFC 5322 message with CRLF line ends, not dot-stuffed, no Bcc header.
        smtputf8: whether an address needs SMTPUTF8 (RFC 6531).
        eight_bit: whether the content has bytes above 127 (needs 8BITMIME, RFC 6152).
    """

    job_id: str
    sender: str
    recipients: tuple[str, ...]
    content: bytes
    smtputf8: bool = False
    eight_bit: bool = False


class Transport(Protocol):
    """One way to deliver."""

    async def deliver(self, mail: Mail, settings: EffectiveSettings, begin: Begin) -> Transmission:
        """Deliver one mail.

        Raises:
            Deferred: this mail later.
            Held: the server, the account or the credential does not work now.
            Rejected: this mail never.
            Unknown: DATA was begun and the reply never came.
            BeginRefused: ``begin`` did, and nothing was sent.
        """

    def lead_seconds(self, settings: EffectiveSettings) -> float:
        """How long ``deliver`` is expected to need before it calls ``begin``."""

    async def close(self) -> None:
        """End every connection politely; safe to call twice."""
