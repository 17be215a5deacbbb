"""A job as a mail: rendered once, the same bytes in every attempt.

Text and html alone are written directly (``mime_writer``); the standard library builds the tree of
parts where there are attachments.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from worker.errors import Rejected
from worker.mime_writer import (
    Mailbox,
    address_header,
    alternative,
    boundary,
    encode_text,
    mailbox,
    text_header,
    text_part,
)
from worker.transports.base import Mail

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from email.message import MIMEPart

    from config.effective import EffectiveSettings
    from producers.job import Attachment, Job

# 76 columns, not the 998 of headers: the library breaks base64 and quoted-printable at this width,
# and RFC 2045 6.7 and 6.8 allow 76.
_PARTS = SMTP.clone(max_line_length=76, cte_type="7bit")


def render(
    job: Job,
    settings: EffectiveSettings,
    *,
    message_id: str,
    date: float,
    contents: Mapping[str, bytes] | None = None,
) -> Mail:
    """Return the mail that this job asks for.

    Args:
        job: with the user's defaults filled in already where it asks for them.
        settings: give the sender where the job names none.
        message_id: the Message-ID header, the same in every attempt.
        date: the Date header, in Unix seconds; fixed at the first attempt.
        contents: the bytes of those attachments that come by reference, by that reference or by
            the attachment's name.

    Raises:
        Rejected: it cannot be rendered; one line says why.
    """
    try:
        return _render(job, settings, message_id, date, contents or {})
    except (ValueError, LookupError) as wrong:
        words = wrong.args[0] if wrong.args else type(wrong).__name__
        raise Rejected(f"the mail cannot be written: {words}") from wrong


def _render(
    job: Job,
    settings: EffectiveSettings,
    message_id: str,
    date: float,
    contents: Mapping[str, bytes],
) -> Mail:
    sender = sender_of(job, settings)
    to, cc, bcc, reply_to = map(_mailboxes, (job.to, job.cc, job.bcc, job.reply_to))
    everyone = dict.fromkeys(box.address for box in (*to, *cc, *bcc))
    headers = [
        address_header("From", [sender]),
        address_header("To", to) if to else "",
        "To: undisclosed-recipients:;\r\n" if not to and not cc else "",
        address_header("Cc", cc) if cc else "",
        address_header("Reply-To", reply_to) if reply_to else "",
        text_header("Subject", job.subject),
        f"Date: {_date(int(date))}\r\n",
        f"Message-ID: {message_id}\r\n",
        # The whole name is in From: the receipt goes to the bare address (RFC 8098 2.1).
        address_header("Disposition-Notification-To", [Mailbox("", sender.address)])
        if job.read_receipt
        else "",
        *(text_header(name, value) for name, value in job.headers.items()),
        "MIME-Version: 1.0\r\n",
    ]
    content = "".join(headers).encode() + _content(job, message_id, contents)
    return Mail(
        job_id=job.id,
        sender=sender.address,
        recipients=tuple(everyone),
        content=content,
        smtputf8=any(box.needs_smtputf8 for box in (sender, *to, *cc, *bcc, *reply_to)),
        eight_bit=not content.isascii(),
    )


def sender_of(job: Job, settings: EffectiveSettings) -> Mailbox:
    """Return whom the mail is from: as the job says, else the user, with the user's name.

    Raises:
        ValueError: the job names none, and the user has no address.
    """
    if job.sender is None and settings.address is None:
        raise ValueError(f"no sender: set address in the file of user {settings.user!r}")
    named = mailbox(job.sender if job.sender is not None else str(settings.address))
    own = settings.address is not None and mailbox(settings.address).address == named.address
    if own and not named.name and settings.display_name:
        return Mailbox(settings.display_name, named.address)
    return named


def _mailboxes(texts: Iterable[str]) -> tuple[Mailbox, ...]:
    return tuple(map(mailbox, texts))


@lru_cache(maxsize=64)
def _date(seconds: int) -> str:
    return format_datetime(datetime.fromtimestamp(seconds, UTC))


def _content(job: Job, message_id: str, contents: Mapping[str, bytes]) -> bytes:
    """Return the MIME headers, an empty line and the body."""
    if job.attachments:
        return _tree(job, message_id, contents)
    parts = [
        text_part(subtype, text)
        for subtype, text in (("plain", job.text), ("html", job.html))
        if text is not None
    ]
    return parts[0] if len(parts) == 1 else alternative(message_id, parts)


def _tree(job: Job, message_id: str, contents: Mapping[str, bytes]) -> bytes:
    """Return mixed(alternative(plain, related(html, inline …)), attachment …), as far as needed."""
    message = EmailMessage(policy=_PARTS)
    if job.text is not None:
        message.set_content(job.text, cte=encode_text(job.text)[0])
    if job.html is not None:
        cte = encode_text(job.html)[0]
        if job.text is None:
            message.set_content(job.html, subtype="html", cte=cte)
        else:
            message.add_alternative(job.html, subtype="html", cte=cte)
    html = message.get_body(("html",))
    for attachment in job.attachments:
        inline = attachment.content_id is not None and html is not None
        _attach(
            html if inline and html is not None else message,
            attachment,
            _bytes_of(attachment, contents),
            inline=inline,
        )
    whole = [text.encode() for text in (job.text, job.html) if text is not None]
    for number, part in enumerate(message.walk()):
        del part["MIME-Version"]
        if part.is_multipart() and part.get_content_maintype() == "multipart":
            part.set_boundary(boundary(f"{message_id}/{number}", whole).decode("ascii"))
    return message.as_bytes()


def _attach(to: MIMEPart, attachment: Attachment, content: bytes, *, inline: bool) -> None:
    kind = EmailMessage(policy=_PARTS)
    kind["Content-Type"] = attachment.content_type
    main, sub = kind.get_content_maintype(), kind.get_content_subtype()
    params = dict(kind["Content-Type"].params)
    if main == "message":
        # Such a part may not be encoded (RFC 2046 5.2.1), and its lines may be too long as they are.
        main, sub, params = "application", "octet-stream", {}
    if inline:
        to.add_related(
            content,
            maintype=main,
            subtype=sub,
            filename=attachment.name,
            params=params,
            cid=f"<{attachment.content_id}>",
            disposition="inline",
        )
    else:
        to.add_attachment(
            content, maintype=main, subtype=sub, filename=attachment.name, params=params
        )


def _bytes_of(attachment: Attachment, contents: Mapping[str, bytes]) -> bytes:
    if attachment.content is not None:
        return attachment.content
    for key in (attachment.reference, attachment.name):
        content = contents.get(key or "")
        # Two attachments may have one name: the digest says whose bytes these are.
        if content is not None and hashlib.sha256(content).hexdigest() == attachment.sha256:
            return content
    raise LookupError(f"the content of attachment {attachment.name!r} is not there")
