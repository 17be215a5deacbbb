"""What the Graph for tests holds: mailboxes with drafts, sent mails, and each delivery that left.

A mail is *delivered* when its ``/send`` took effect; it *shows* as sent when the draft has moved to
Sent Items, which may be some looks later. A second ``/send`` in between delivers it a second time:
that is how a test sees a duplicate.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import secrets
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

DRAFTS, SENT = "drafts", "sentitems"
KEPT_BYTES = 8 * 1024 * 1024
"""Of an attachment that is bigger, only the size and the hash are kept."""


@dataclass(slots=True)
class Attachment:
    """A file of a message; ``content`` is None where it was too big to keep."""

    name: str
    content_type: str
    size: int
    sha256: str
    content: bytes | None
    is_inline: bool = False
    content_id: str | None = None
    id: str = field(default_factory=lambda: f"AAMkAtt{secrets.token_urlsafe(12)}=")

    @classmethod
    def of(cls, value: Mapping[str, Any], content: bytes) -> Attachment:
        """Make one from a fileAttachment of the published shape."""
        return cls(
            name=value["name"],
            content_type=value.get("contentType", "application/octet-stream"),
            size=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            content=content if len(content) <= KEPT_BYTES else None,
            is_inline=value.get("isInline", False),
            content_id=value.get("contentId"),
        )

    def view(self) -> dict[str, Any]:
        """Return it as Graph shows it, without its bytes."""
        return {
            "@odata.type": "#microsoft.graph.fileAttachment",
            "id": self.id,
            "name": self.name,
            "contentType": self.content_type,
            "size": self.size,
            "isInline": self.is_inline,
            "contentId": self.content_id,
        }


def property_key(name: str) -> str:
    """Return an extended property's id as it is compared: GUIDs have no one spelling."""
    return name.lower().replace("{", "").replace("}", "")


@dataclass(slots=True)
class Message:
    """A message of a mailbox, as a client made it.

    Attributes:
        fields: as given, by their names in JSON; without those that stand here on their own.
        properties: the single-value extended properties, by ``property_key``.
        headers: the custom headers.
        deliveries: how often its ``/send`` took effect.
        looks_left: so many looks more show it as a draft, though it was sent.
    """

    mailbox: str
    fields: dict[str, Any]
    internet_message_id: str
    properties: dict[str, str] = field(default_factory=dict)
    headers: list[tuple[str, str]] = field(default_factory=list)
    attachments: list[Attachment] = field(default_factory=list)
    folder: str = DRAFTS
    deliveries: int = 0
    looks_left: int = 0
    serial: str = field(default_factory=lambda: secrets.token_urlsafe(15))
    made_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def immutable_id(self) -> str:
        """Stays for as long as the message is in the mailbox."""
        return f"AAkALg{self.serial}="

    @property
    def regular_id(self) -> str:
        """Changes when the message moves to another folder."""
        return f"AAMkA{'D' if self.folder == DRAFTS else 'S'}{self.serial}AAA="

    @property
    def size(self) -> int:
        """About how many bytes Exchange counts, without the growth by base64."""
        content = self.fields.get("body", {}).get("content", "")
        return len(content) + sum(attachment.size for attachment in self.attachments)

    def recipients(self) -> list[str]:
        """Return everyone that it goes to."""
        lists = (self.fields.get(f"{kind}Recipients", []) for kind in ("to", "cc", "bcc"))
        return [item["emailAddress"]["address"] for item in itertools.chain(*lists)]

    def update(self, value: Mapping[str, Any]) -> None:
        """Take the fields of a request that has been checked."""
        for name, inner in value.items():
            if name == "internetMessageId":
                self.internet_message_id = inner
            elif name == "singleValueExtendedProperties":
                self.properties.update({property_key(one["id"]): one["value"] for one in inner})
            elif name == "internetMessageHeaders":
                self.headers = [(one["name"], one["value"]) for one in inner]
            elif name == "attachments":
                for one in inner:
                    content = base64.b64decode(one["contentBytes"])
                    self.attachments.append(Attachment.of(one, content))
            elif not name.startswith("@"):
                self.fields[name] = inner


@dataclass(frozen=True, slots=True)
class Delivery:
    """One time that a mail left for its recipients."""

    mailbox: str
    message_id: str
    internet_message_id: str
    properties: Mapping[str, str]
    recipients: tuple[str, ...]
    subject: str

    def property(self, name: str) -> str | None:
        """Return an extended property's value by its id, in any spelling of the GUID."""
        return self.properties.get(property_key(name))


@dataclass(slots=True)
class Mailbox:
    """One mailbox.

    Attributes:
        refusal: what every request for it is refused with: (status, code), None for nothing.
        send_as: whose addresses may stand in From and Sender beside its own; None for anyone's.
        deleted: messages that a client deleted.
    """

    address: str
    messages: list[Message] = field(default_factory=list)
    deleted: list[Message] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    refusal: tuple[int, str] | None = None
    send_as: set[str] | None = None
    size_limit_bytes: int = 150 * 1024 * 1024

    def find(self, message_id: str) -> Message | None:
        """Return a message by the id that it has now, of either kind."""
        for message in self.messages:
            if message.serial not in message_id:
                continue  # quicker than to make the ids of them all
            if message_id in {message.immutable_id, message.regular_id}:
                return message
        return None

    def look(self, message: Message) -> None:
        """Count one look at a message that was sent and still shows as a draft."""
        if message.deliveries and message.folder == DRAFTS:
            message.looks_left -= 1
            if message.looks_left < 0:
                message.folder = SENT

    def deliver(self, message: Message, *, looks: int = 0, keep: bool = True) -> None:
        """Let a mail leave; it shows as sent after so many looks more.

        Args:
            keep: whether a copy stays in Sent Items.
        """
        message.deliveries += 1
        self.deliveries.append(
            Delivery(
                self.address,
                message.immutable_id,
                message.internet_message_id,
                dict(message.properties),
                tuple(message.recipients()),
                message.fields.get("subject", ""),
            )
        )
        message.looks_left = looks
        if not looks:
            message.folder = SENT
        if not keep:
            self.messages.remove(message)

    def counted(self, name: str) -> Counter[str | None]:
        """Return how often mails left, by the value of an extended property."""
        return Counter(delivery.property(name) for delivery in self.deliveries)
