"""What every transport is: one method that delivers one mail, and a way to close."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Literal

    from config.effective import EffectiveSettings
    from producers.job import Job
    from worker.outcome import Draft, Transmission

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
        job: what was rendered, with the user's defaults; for ways that take no RFC 5322 message.
        contents: of the attachments that the job has by reference, by reference: the bytes, or a file
            where a transport reads it in pieces.
        attempts: how many earlier attempts the job had: one of them may have sent it.
        claim: what the ledger wants to see of whoever makes a draft of the job (``Drafts``).
    """

    job_id: str
    sender: str
    recipients: tuple[str, ...]
    content: bytes
    smtputf8: bool = False
    eight_bit: bool = False
    job: Job | None = None
    contents: Mapping[str, bytes | Path] = field(default_factory=dict)
    attempts: int = 0
    claim: str = ""


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


class Tokens(Protocol):
    """Where access tokens come from (``worker/auth``)."""

    async def token(self, settings: EffectiveSettings, resource: Literal["smtp", "graph"]) -> str:
        """Return a token that is good for some minutes more.

        Raises:
            Held: none can be had; on the app registration (``settings.registration.key``), on the
                account's credential, or on the authority as a server.
        """

    def refused(
        self, settings: EffectiveSettings, resource: Literal["smtp", "graph"], token: str
    ) -> bool:
        """Have the account given another token than the one refused; whether that is worth a try.

        It is where the token came from a cache, and not where it had just been fetched. Other
        accounts may go on with it: the fault may be this one's.
        """


class Drafts(Protocol):
    """What the ledger remembers of drafts, so that a mail is never made twice (``worker/drafts.py``).

    Only who has the job's claim (``Mail.claim``) may write: else a worker that was found dead could
    put its own draft in the place of the one that another has begun to send.
    """

    async def find(self, job_id: str) -> Draft | None:
        """Return the draft of a job; with an empty ``remote_id`` if one was only intended."""

    async def intend(self, job_id: str, *, claim: str) -> None:
        """Commit that a draft is about to be made.

        Raises:
            BeginRefused: the job is not this claim's any more: make none.
        """

    async def remember(self, job_id: str, draft: Draft, *, claim: str) -> None:
        """Commit what was made; what was remembered before is replaced.

        Raises:
            BeginRefused: the job is not this claim's any more: send nothing of it.
        """
