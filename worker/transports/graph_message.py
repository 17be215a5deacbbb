"""A job as Graph takes it: the JSON of a message, and what of a job has no place there; pure.

Sources: learn.microsoft.com/graph/api/resources/message, …/internetmessageheader,
…/singlevaluelegacyextendedproperty and user-post-messages. A message has one body, so of text and
html the html goes, from which Exchange makes the text; its date is the moment of sending.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from worker.errors import Rejected
from worker.mime import sender_of
from worker.mime_writer import mailbox

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from config.effective import EffectiveSettings
    from producers.job import Attachment, Job
    from worker.transports.base import Mail

MOST_REQUEST_BYTES: Final = 3_900_000
"""Of one request, a little under Graph's 4 MB."""
MOST_ATTACHMENT_BYTES: Final = 150 * 1024 * 1024
"""Of one attachment (graph/outlook-large-attachments)."""
MOST_HEADERS: Final = 5
"""Graph refuses more custom headers: InvalidInternetMessageHeaderCollection."""
MOST_HEADER_CHARACTERS: Final = 995
"""Of a header's name and value together."""
JOB_PROPERTY: Final = "String {8f1b5c1e-6d0b-4b6e-9b0a-7c3f2a54d9e1} Name PostmeterJob"
"""The extended property that holds the job's id: by it a draft is found whose id was lost."""
UNSUBSCRIBE_PROPERTY: Final = "String 0x1045"
"""PidTagListUnsubscribe: the one way for that header, whose name does not begin with x-."""

_IMPORTANCE: Final[Mapping[str, Mapping[str, str]]] = {
    "importance": {"high": "high", "normal": "normal", "low": "low"},
    "priority": {"urgent": "high", "normal": "normal", "non-urgent": "low"},
    "x-priority": {"1": "high", "2": "high", "3": "normal", "4": "low", "5": "low"},
}
"""Headers that say how important a mail is (RFC 2156 5.3.6, 5.3.4; Outlook's X-Priority)."""


@dataclass(frozen=True, slots=True)
class Part:
    """An attachment: what Graph is told of it, and its bytes or the file that has them."""

    name: str
    content_type: str
    content_id: str | None
    size: int
    content: bytes | Path

    @property
    def is_inline(self) -> bool:
        """Whether the html shows it."""
        return self.content_id is not None

    def read(self) -> bytes:
        """All of it; for small ones."""
        return self.content if isinstance(self.content, bytes) else self.content.read_bytes()

    def described(self) -> dict[str, Any]:
        """What Graph is told of it besides its bytes."""
        told = {"name": self.name, "contentType": self.content_type, "isInline": self.is_inline}
        return told if self.content_id is None else {**told, "contentId": self.content_id}

    def as_json(self) -> dict[str, Any]:
        """The whole attachment."""
        return {
            "@odata.type": "#microsoft.graph.fileAttachment",
            **self.described(),
            "contentBytes": base64.b64encode(self.read()).decode("ascii"),
        }


@dataclass(frozen=True, slots=True)
class Message:
    """What a draft is made of.

    Attributes:
        content: the JSON of the draft, with the attachments that fit into the request.
        within: the names of those attachments.
        apart: the attachments that follow, one by one.
    """

    content: bytes
    within: tuple[str, ...]
    apart: tuple[Part, ...]


def uncarried(job: Job) -> str | None:
    """Why Graph cannot carry this mail as it is, in one sentence; None where it can."""
    custom = 0
    for name, value in job.headers.items():
        lower = name.lower()
        if lower.startswith("x-"):
            custom += 1
            if len(name) + len(value) > MOST_HEADER_CHARACTERS:
                return f"the header {name} is longer than the {MOST_HEADER_CHARACTERS} characters that Microsoft 365 takes"
        elif lower != "list-unsubscribe" and value.strip().lower() not in _IMPORTANCE.get(
            lower, ()
        ):
            return (
                f"Microsoft 365 does not carry the header {name}: only names that begin with x-,"
                " and List-Unsubscribe"
            )
    if custom > MOST_HEADERS:
        return f"the mail has {custom} headers of its own, and Microsoft 365 takes {MOST_HEADERS}"
    return None


def message_of(mail: Mail, settings: EffectiveSettings) -> Message:
    """Return the draft of a mail.

    Raises:
        Rejected: Graph takes no such mail; the reason says what is too large.
    """
    job = mail.job
    assert job is not None
    message = _without_attachments(job, mail, settings)
    parts = [_part(each, mail.contents) for each in job.attachments]
    room = MOST_REQUEST_BYTES - len(_dumped(message))
    if room < 0:
        raise Rejected("the mail's text is larger than the 4 MB that Microsoft 365 takes at once")
    within: set[int] = set()
    for index, part in sorted(enumerate(parts), key=lambda each: each[1].size):
        cost = len(_dumped(part.described())) + part.size * 4 // 3 + 100
        if cost > room:
            break
        room -= cost
        within.add(index)
    if within:
        message["attachments"] = [parts[index].as_json() for index in sorted(within)]
    apart = tuple(part for index, part in enumerate(parts) if index not in within)
    names = tuple(parts[index].name for index in sorted(within))
    return Message(_dumped(message), names, apart)


def _without_attachments(job: Job, mail: Mail, settings: EffectiveSettings) -> dict[str, Any]:
    body = job.html if job.html is not None else job.text
    properties = [{"id": JOB_PROPERTY, "value": job.id}]
    headers, importance = [], None
    for name, value in job.headers.items():
        lower = name.lower()
        importance = _IMPORTANCE.get(lower, {}).get(value.strip().lower(), importance)
        if lower.startswith("x-"):
            headers.append({"name": name, "value": value.strip()})
        elif lower == "list-unsubscribe":
            properties.append({"id": UNSUBSCRIBE_PROPERTY, "value": value.strip()})
    sender = sender_of(job, settings)
    # The envelope is made from these: who has the mail already must not stand among them.
    left = frozenset(mail.recipients)
    message: dict[str, Any] = {
        "subject": job.subject,
        "body": {"contentType": "text" if job.html is None else "html", "content": body},
        "from": _recipient(sender.name, sender.address),
        "toRecipients": _recipients(job.to, left),
        "ccRecipients": _recipients(job.cc, left),
        "bccRecipients": _recipients(job.bcc, left),
        "replyTo": _recipients(job.reply_to),
        "internetMessageId": job.message_id,
        "internetMessageHeaders": headers,
        "singleValueExtendedProperties": properties,
        "importance": importance,
        "isReadReceiptRequested": True if job.read_receipt else None,
    }
    # Graph refuses an empty list of headers; what is not said at all is never wrong.
    return {name: value for name, value in message.items() if value not in ([], None)}


def _recipients(written: Iterable[str], left: frozenset[str] | None = None) -> list[dict[str, Any]]:
    boxes = [mailbox(each) for each in written]
    return [
        _recipient(box.name, box.address) for box in boxes if left is None or box.address in left
    ]


def _recipient(name: str, address: str) -> dict[str, Any]:
    known = {"name": name} if name else {}
    return {"emailAddress": {"address": address, **known}}


def _part(attachment: Attachment, contents: Mapping[str, bytes | Path]) -> Part:
    content: bytes | Path | None = attachment.content
    if content is None:
        content = contents.get(attachment.reference or "")
    if content is None:
        raise Rejected(f"the content of attachment {attachment.name!r} is not there")
    size = len(content) if isinstance(content, bytes) else content.stat().st_size
    if size > MOST_ATTACHMENT_BYTES:
        raise Rejected(
            f"attachment {attachment.name!r} is larger than the 150 MB that Microsoft 365 takes"
        )
    return Part(attachment.name, attachment.content_type, attachment.content_id, size, content)


def _dumped(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
