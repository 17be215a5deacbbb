"""The mails of a Graph for tests as a test reads them: frozen, and the same from another process."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.graphd_state import Mailbox, Message


@dataclass(frozen=True, slots=True)
class SentFile:
    """An attachment; ``content`` is None for one over 8 MiB."""

    name: str
    content_type: str
    size: int
    sha256: str
    content: bytes | None
    is_inline: bool
    content_id: str | None


@dataclass(frozen=True, slots=True)
class SentMail:
    """A message of a mailbox.

    Attributes:
        fields: as the client gave them, by their names in JSON.
        headers: the custom headers.
        properties: the extended properties, by id in lower case without braces.
        deliveries: how often it left.
        shows_as_draft: what a GET would say.
    """

    id: str
    internet_message_id: str
    subject: str
    recipients: tuple[str, ...]
    fields: Mapping[str, Any]
    headers: tuple[tuple[str, str], ...]
    properties: Mapping[str, str]
    attachments: tuple[SentFile, ...]
    deliveries: int
    shows_as_draft: bool

    def as_json(self) -> dict[str, Any]:
        """Return it for the control address, without the bytes of its files."""
        value = asdict(self)
        for one in value["attachments"]:
            del one["content"]
        return value


def sent_mails(mailbox: Mailbox, *, sent: bool) -> list[SentMail]:
    """Return the messages of a mailbox that left, or those that did not."""
    messages = [*mailbox.messages, *(gone for gone in mailbox.deleted if gone.deliveries)]
    return [_of(message) for message in messages if bool(message.deliveries) is sent]


def _of(message: Message) -> SentMail:
    files = tuple(
        SentFile(
            one.name,
            one.content_type,
            one.size,
            one.sha256,
            one.content,
            one.is_inline,
            one.content_id,
        )
        for one in message.attachments
    )
    return SentMail(
        id=message.immutable_id,
        internet_message_id=message.internet_message_id,
        subject=message.fields.get("subject", ""),
        recipients=tuple(message.recipients()),
        fields=dict(message.fields),
        headers=tuple(message.headers),
        properties=dict(message.properties),
        attachments=files,
        deliveries=message.deliveries,
        shows_as_draft=message.folder == "drafts",
    )
