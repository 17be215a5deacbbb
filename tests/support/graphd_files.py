"""What Graph does with a message's files: attach small ones, and take big ones in an upload session.

Sources: learn.microsoft.com/graph/api/message-post-attachments, attachment-createuploadsession;
learn.microsoft.com/graph/outlook-large-attachments. A session's bytes are hashed as they come, and
kept only where the file is small: 150 MB do not need 150 MB.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from tests.support.graphd_mail import found, json_body, selected
from tests.support.graphd_shapes import FILE_ATTACHMENT, UPLOAD_SESSION
from tests.support.graphd_state import DRAFTS, KEPT_BYTES, Attachment
from tests.support.graphd_wire import Refused, Reply, misshapen
from tests.support.secrets_watch import secret

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.graphd_faults import Fault
    from tests.support.graphd_state import Mailbox, Message
    from tests.support.graphd_wire import Request

MIB = 1024 * 1024
SMALLEST_SESSION_BYTES = 3_000_000
"""The page says 3 MB; 2 MiB has been measured (msgraph-sdk-java#52)."""
LARGEST_SESSION_BYTES = 150 * MIB
LARGEST_CHUNK_BYTES = 4 * MIB - 1

_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_TOO_BIG = "The message exceeds the maximum supported size."


@dataclass(slots=True)
class UploadSession:
    """A file that comes in parts, in order."""

    mailbox: Mailbox
    message: Message
    item: dict[str, Any]
    application: str
    id: str = field(default_factory=lambda: secrets.token_urlsafe(18))
    secret: str = field(default_factory=lambda: secret(secrets.token_urlsafe(24)))
    received: int = 0
    content: bytearray | None = field(default_factory=bytearray)
    digest: Any = field(default_factory=hashlib.sha256)
    expires_at: datetime = field(default_factory=lambda: datetime.now(UTC) + timedelta(hours=1))

    @property
    def size(self) -> int:
        """How big the file is going to be."""
        return int(self.item["size"])

    def take(self, part: bytes) -> None:
        """Take the next bytes."""
        self.received += len(part)
        self.digest.update(part)
        if self.size > KEPT_BYTES:
            self.content = None
        if self.content is not None:
            self.content += part

    def view(self) -> dict[str, Any]:
        """Return it as it is shown: the start of what is expected next, without a dash."""
        expected = [str(self.received)] if self.received < self.size else []
        return {
            "expirationDateTime": self.expires_at.isoformat().replace("+00:00", "Z"),
            "nextExpectedRanges": expected,
        }

    def attachment(self) -> Attachment:
        """Return the file when it is complete."""
        return Attachment(
            name=self.item["name"],
            content_type=self.item.get("contentType", "application/octet-stream"),
            size=self.size,
            sha256=self.digest.hexdigest(),
            content=None if self.content is None else bytes(self.content),
            is_inline=self.item.get("isInline", False),
            content_id=self.item.get("contentId"),
        )


def _draft(mailbox: Mailbox, request: Request, more_bytes: int = 0) -> Message:
    message = found(mailbox, request.parts[0])
    if message.folder != DRAFTS:
        raise Refused(400, "ErrorInvalidPropertySet", "The message is not a draft any more.")
    if message.size + more_bytes > mailbox.size_limit_bytes:
        raise Refused(413, "ErrorMessageSizeExceeded", _TOO_BIG)
    return message


def attach(mailbox: Mailbox, request: Request, fault: Fault | None) -> Reply:
    """Attach a file that is in the request."""
    value = json_body(request, FILE_ATTACHMENT, "attachment")
    content = base64.b64decode(value["contentBytes"])
    message = _draft(mailbox, request, len(content))
    attachment = Attachment.of(value, content)
    message.attachments.append(attachment)
    return Reply(201, attachment.view())


def attachments(mailbox: Mailbox, request: Request, fault: Fault | None) -> Reply:
    """Show what is attached."""
    message = found(mailbox, request.parts[0])
    shown = [selected(attachment.view(), request) for attachment in message.attachments]
    return Reply(200, {"value": shown})


def detach(mailbox: Mailbox, request: Request, fault: Fault | None) -> Reply:
    """Remove a file from a draft."""
    message = _draft(mailbox, request)
    for attachment in message.attachments:
        if attachment.id == request.parts[1]:
            message.attachments.remove(attachment)
            return Reply(204)
    raise Refused(404, "ErrorItemNotFound", "The specified object was not found in the store.")


class Uploads:
    """The upload sessions of a server; ``base_url`` is where their addresses begin."""

    def __init__(self) -> None:
        self.base_url = ""
        self.sessions: dict[str, UploadSession] = {}

    def open(self, mailbox: Mailbox, request: Request, application: str) -> Reply:
        """Begin a session for a file of a draft."""
        item = json_body(request, UPLOAD_SESSION, "createUploadSession")["AttachmentItem"]
        if item["size"] < SMALLEST_SESSION_BYTES:
            raise misshapen(
                "ErrorAttachmentSizeShouldNotBeLessThanMinimumSize",
                "The attachment is smaller than an upload session is for.",
            )
        if item["size"] > LARGEST_SESSION_BYTES:
            raise misshapen("ErrorMessageSizeExceeded", _TOO_BIG, 413)
        message = _draft(mailbox, request, item["size"])
        session = UploadSession(mailbox, message, item, application)
        self.sessions[session.id] = session
        address = f"{self.base_url}/uploads/{session.id}?authtoken={session.secret}"
        shown = session.view() | {"uploadUrl": address, "nextExpectedRanges": ["0-"]}
        return Reply(201, shown)

    def find(self, request: Request) -> UploadSession:
        """Return the session of a request's address.

        Raises:
            Refused: it is over, its draft is gone, or the address was altered or came with a token.
        """
        if "authorization" in request.headers:
            raise misshapen(
                "InvalidAuthenticationToken",
                "The upload address is pre-authenticated: no Authorization header goes there.",
                401,
            )
        session = self.sessions.get(request.parts[0])
        if session is None or session.message not in session.mailbox.messages:
            raise Refused(404, "itemNotFound", "Not found.", inner="uploadSessionNotFound")
        if dict(request.query) != {"authtoken": session.secret}:
            raise misshapen("InvalidAuthenticationToken", "The upload address was altered.", 401)
        return session

    def put(self, session: UploadSession, request: Request, fault: Fault | None) -> Reply:
        """Take a chunk; the last one makes the attachment and ends the session."""
        part = self._part(session, request)
        if fault is not None and fault.part < 1:
            part = part[: int(len(part) * fault.part)]
        session.take(part)
        if session.received < session.size:
            return Reply(200, session.view())
        attachment = session.attachment()
        session.message.attachments.append(attachment)
        del self.sessions[session.id]
        location = (
            f"{self.base_url}/api/v2.0/Users('{session.mailbox.address}')"
            f"/Messages('{session.message.immutable_id}')/Attachments('{attachment.id}')"
        )
        return Reply(201, headers={"Location": location})

    @staticmethod
    def _part(session: UploadSession, request: Request) -> bytes:
        if request.media_type != "application/octet-stream":
            raise misshapen("invalidRequest", "Content-Type must be application/octet-stream.")
        given = _RANGE.fullmatch(request.headers.get("content-range", ""))
        if given is None:
            raise misshapen(
                "invalidRequest", "Content-Range must be 'bytes {start}-{end}/{total}'."
            )
        start, end, total = (int(number) for number in given.groups())
        if end - start + 1 != len(request.body) or total != session.size or end >= total:
            raise misshapen(
                "invalidRange", "The Content-Range does not fit.", inner="fragmentLengthMismatch"
            )
        if start != session.received:
            inner = "fragmentOverlap" if start < session.received else "fragmentOutOfOrder"
            raise Refused(416, "invalidRange", "Not the range that is expected next.", inner=inner)
        return request.body

    def status(self, session: UploadSession) -> Reply:
        """Show what is expected next, so that an upload is taken up again."""
        return Reply(200, session.view())

    def cancel(self, session: UploadSession) -> Reply:
        """End a session."""
        del self.sessions[session.id]
        return Reply(204)


OPERATIONS: dict[str, Callable[[Mailbox, Request, Fault | None], Reply]] = {
    "attach": attach,
    "attachments": attachments,
    "detach": detach,
}
