"""Compose by ``accredo-mailer`` on a worker: the unsent message, as a file kept with the job.

``X-Unsent: 1`` makes Outlook open the file for editing, not reading. Whoever opens it sends it, so
it has what only an unsent message has, and lacks what sending gives:

* Bcc stays in (RFC 5322 3.6.3): nobody has put it into an envelope yet;
* no Date and no Message-ID: the program or server that sends it adds them (RFC 6409 8.2, 8.3). With
  ours, a file that is opened and sent twice would be two mails with one id, and mailboxes drop the
  second as a copy;
* no ``To: undisclosed-recipients:;``, which stands for Bcc on the wire and cannot be sent to.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from worker.errors import Rejected
from worker.mime_writer import address_header, mailbox
from worker.outcome import Draft, Transmission

if TYPE_CHECKING:
    from collections.abc import Sequence

    from config.effective import EffectiveSettings
    from worker.transports.base import Begin, Mail

MOST_BYTES: Final = 48 << 20
"""The most that is kept in the ledger for one job: no mailbox takes more by default."""

_NEXT_FIELD: Final = re.compile(rb"\r\n(?![ \t])")
_LEFT_OUT: Final = frozenset({b"date", b"message-id", b"x-unsent"})
_NOBODY: Final = b"To: undisclosed-recipients:;"


class EmlTransport:
    """Makes drafts without a server; it never calls ``begin``, for nothing is sent."""

    async def deliver(self, mail: Mail, settings: EffectiveSettings, begin: Begin) -> Transmission:
        """Turn the mail into a draft; the ledger keeps it with the outcome.

        Raises:
            Rejected: the draft is too large to be kept.
        """
        del settings, begin
        bcc = () if mail.job is None else mail.job.bcc
        content = unsent(mail.content, bcc)
        if len(content) > MOST_BYTES:
            raise Rejected(
                f"the draft has {len(content) >> 20} MiB, and at most {MOST_BYTES >> 20} are kept with"
                " a job: attach less, or write mail_options.compose = microsoft-365"
            )
        return Transmission((), None, draft=Draft(content=content))

    def lead_seconds(self, settings: EffectiveSettings) -> float:  # noqa: ARG002 - same for all
        """Return 0: there is nobody to connect to."""
        return 0.0

    async def close(self) -> None:
        """Do nothing: there is no connection."""


def unsent(content: bytes, bcc: Sequence[str]) -> bytes:
    """Return a message that was written to be sent as one that a person is to send.

    Args:
        content: as ``mime`` writes it, with CRLF line ends.
        bcc: ``addr`` or ``Name <addr>``, which such a message does not show.
    """
    head, end, body = content.partition(b"\r\n\r\n")
    kept = [
        field
        for field in _NEXT_FIELD.split(head)
        if field.partition(b":")[0].lower() not in _LEFT_OUT and field != _NOBODY
    ]
    hidden = address_header("Bcc", map(mailbox, bcc)).encode() if bcc else b""
    return b"X-Unsent: 1\r\n" + hidden + b"\r\n".join(kept) + end + body
