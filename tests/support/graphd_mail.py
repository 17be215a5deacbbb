"""What Graph does with messages: make, show, find, change, delete and send them.

Sources, at learn.microsoft.com/graph/api: user-post-messages, message-get, user-list-messages,
message-update, message-delete, message-send, user-sendmail.
"""

from __future__ import annotations

import json
import re
import secrets
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tests.support.graphd_mime import mime_fields
from tests.support.graphd_shapes import MAX_RECIPIENTS, MESSAGE, SEND_MAIL, UPDATE
from tests.support.graphd_state import DRAFTS, SENT, Message, property_key
from tests.support.graphd_wire import Refused, Reply, misshapen

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.graphd_faults import Fault
    from tests.support.graphd_shapes import Check
    from tests.support.graphd_state import Mailbox
    from tests.support.graphd_wire import Request

_QUOTED = r"'((?:[^']|'')*)'"
_BY_PROPERTY = re.compile(
    r"singleValueExtendedProperties/Any\((\w+): ?\1/id eq "
    + _QUOTED
    + r" and \1/value eq "
    + _QUOTED
    + r"\)",
    re.IGNORECASE,
)
_BY_MESSAGE_ID = re.compile(r"internetMessageId eq " + _QUOTED)
_EXPAND = re.compile(
    r"singleValueExtendedProperties\(\$filter=id eq " + _QUOTED + r"\)", re.IGNORECASE
)
_ADDRESS = re.compile(r"[^@\s<>,;]+@[^@\s<>,;]+")
_LOOKED_AT = frozenset({"$filter", "$select", "$top", "$expand", "$orderby", "$count"})


def json_body(request: Request, check: Check, where: str) -> dict[str, Any]:
    """Return the JSON of a request that is of a published shape.

    Raises:
        Refused: it is not.
    """
    if request.media_type != "application/json":
        raise misshapen(
            "RequestBodyRead", "A missing or unsupported content type header was found.", 415
        )
    try:
        value = json.loads(request.body)
    except ValueError:
        raise misshapen(
            "BadRequest",
            "Unable to read JSON request payload. Please ensure Content-Type header is set and "
            "payload is of valid JSON format.",
        ) from None
    check(value, where)
    return dict(value)


def found(mailbox: Mailbox, message_id: str) -> Message:
    """Return a message by an id.

    Raises:
        Refused: there is none such, or no more under this id.
    """
    message = mailbox.find(message_id)
    if message is None:
        raise Refused(404, "ErrorItemNotFound", "The specified object was not found in the store.")
    return message


def selected(whole: dict[str, Any], request: Request) -> dict[str, Any]:
    """Return those fields that a request selects, all if it does not.

    Raises:
        Refused: it selects one that there is not.
    """
    chosen = request.query.get("$select", ",".join(whole)).replace(" ", "").split(",")
    unknown = [name for name in chosen if name not in whole and name != "id"]
    if unknown:
        raise misshapen("BadRequest", f"Could not find a property named '{unknown[0]}'.")
    return {name: whole[name] for name in chosen if name in whole}


def view(message: Message, request: Request) -> dict[str, Any]:
    """Return a message as Graph shows it, with the ids that the request prefers."""
    shown = message.immutable_id if request.immutable else message.regular_id
    stamp = message.made_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    body = {"contentType": "text", "content": "", **message.fields.get("body", {})}
    own = {"emailAddress": {"name": message.mailbox, "address": message.mailbox}}
    whole: dict[str, Any] = {
        "createdDateTime": stamp,
        "lastModifiedDateTime": stamp,
        "receivedDateTime": stamp,
        "sentDateTime": stamp,
        "categories": [],
        "subject": "",
        "importance": "normal",
        "isDeliveryReceiptRequested": False,
        "isReadReceiptRequested": False,
        "isRead": True,
        "from": own,
        "sender": own,
        "toRecipients": [],
        "ccRecipients": [],
        "bccRecipients": [],
        "replyTo": [],
        **message.fields,
        "body": {**body, "contentType": body["contentType"].lower()},
        "bodyPreview": body["content"][:255],
        "internetMessageId": message.internet_message_id,
        "hasAttachments": any(not attachment.is_inline for attachment in message.attachments),
        "parentFolderId": f"AQMk-{message.folder}=",
        "isDraft": message.folder == DRAFTS,
        "webLink": "https://outlook.office365.com/owa/?ItemID="
        f"{quote(shown, safe='')}&exvsurl=1&viewmodel=ReadMessageItem",
    }
    whole = selected(whole, request)
    whole["id"] = shown
    expanded = _EXPAND.fullmatch(request.query.get("$expand", ""))
    if expanded:
        name = expanded[1]
        value = message.properties.get(property_key(name))
        if value is not None:
            whole["singleValueExtendedProperties"] = [{"id": name, "value": value}]
    return {"@odata.etag": f'W/"{message.serial}"', **whole}


def _made(mailbox: Mailbox, value: dict[str, Any]) -> Message:
    message = Message(mailbox.address, {}, f"<{secrets.token_hex(12)}@test.prod.outlook.com>")
    message.update(value)
    if message.size > mailbox.size_limit_bytes:
        raise Refused(
            413, "ErrorMessageSizeExceeded", "The message exceeds the maximum supported size."
        )
    return message


def create(mailbox: Mailbox, request: Request, fault: Fault | None) -> Reply:
    """Make a draft, from JSON or from MIME."""
    mime = request.media_type == "text/plain"
    value = mime_fields(request.body) if mime else json_body(request, MESSAGE, "message")
    message = _made(mailbox, value)
    mailbox.messages.append(message)
    return Reply(201, view(message, request))


def get(mailbox: Mailbox, request: Request, fault: Fault | None) -> Reply:
    """Show one message; each time a sent one that still shows as a draft comes nearer to moving."""
    _known_options(request)
    message = found(mailbox, request.parts[0])
    mailbox.look(message)
    return Reply(200, view(message, request))


def listed(mailbox: Mailbox, request: Request, fault: Fault | None) -> Reply:
    """Find messages in the whole mailbox, or show those of a folder."""
    _known_options(request)
    messages = list(mailbox.messages)
    asked = request.query.get("$filter")
    if asked is not None:
        messages = _filtered(messages, asked)
    for message in messages:
        mailbox.look(message)
    if request.operation == "sent":
        folder = request.parts[0].lower()
        messages = [message for message in messages if message.folder == folder]
    top = request.query.get("$top", "10")
    if not top.isdecimal() or not 1 <= int(top) <= 1000:
        raise misshapen("BadRequest", f"The $top '{top}' is not from 1 to 1000.")
    newest = sorted(messages, key=lambda message: message.made_at, reverse=True)
    return Reply(200, {"value": [view(message, request) for message in newest[: int(top)]]})


def _known_options(request: Request) -> None:
    unknown = set(request.query) - _LOOKED_AT
    if unknown:
        raise misshapen("BadRequest", f"The query option '{min(unknown)}' is not known here.")


def _filtered(messages: list[Message], asked: str) -> list[Message]:
    by_property = _BY_PROPERTY.fullmatch(asked)
    if by_property:
        key = property_key(by_property[2].replace("''", "'"))
        value = by_property[3].replace("''", "'")
        return [message for message in messages if message.properties.get(key) == value]
    by_message_id = _BY_MESSAGE_ID.fullmatch(asked)
    if by_message_id:
        value = by_message_id[1].replace("''", "'")
        return [message for message in messages if message.internet_message_id == value]
    raise misshapen("BadRequest", f"Invalid filter clause, or one that is not known here: {asked}")


def update(mailbox: Mailbox, request: Request, fault: Fault | None) -> Reply:
    """Change a message; a sent one has fields that stay."""
    message = found(mailbox, request.parts[0])
    value = json_body(request, UPDATE, "message")
    if message.folder == SENT and set(value) & {"body", "subject", "internetMessageId", "replyTo"}:
        raise Refused(400, "ErrorInvalidPropertySet", "The message is not a draft any more.")
    message.update(value)
    return Reply(200, view(message, request))


def delete(mailbox: Mailbox, request: Request, fault: Fault | None) -> Reply:
    """Delete a message."""
    message = found(mailbox, request.parts[0])
    mailbox.messages.remove(message)
    mailbox.deleted.append(message)
    return Reply(204)


def _sendable(mailbox: Mailbox, message: Message) -> None:
    recipients = message.recipients()
    if not recipients or not all(_ADDRESS.fullmatch(one) for one in recipients):
        raise Refused(400, "ErrorInvalidRecipients", "At least one recipient isn't valid.")
    if len(recipients) > MAX_RECIPIENTS:
        raise Refused(400, "ErrorInvalidRecipients", "The message has too many recipients.")
    own = {mailbox.address, *(mailbox.send_as or ())}
    for name in ("from", "sender"):
        given = message.fields.get(name)
        if mailbox.send_as is None or given is None:
            continue
        if given["emailAddress"]["address"].lower() not in own:
            raise Refused(
                403,
                "ErrorSendAsDenied",
                "The user account which was used to submit this request does not have the right "
                "to send mail on behalf of the specified sending account.",
            )


def send(mailbox: Mailbox, request: Request, fault: Fault | None) -> Reply:
    """Let a draft leave; a mail that has moved to Sent Items is no draft to send."""
    if request.body:
        raise misshapen("BadRequest", "This request takes no body.")
    message = found(mailbox, request.parts[0])
    if message.folder != DRAFTS:
        raise Refused(404, "ErrorItemNotFound", "The specified object was not found in the store.")
    _sendable(mailbox, message)
    mailbox.deliver(message, looks=fault.looks if fault else 0)
    return Reply(202)


def send_mail(mailbox: Mailbox, request: Request, fault: Fault | None) -> Reply:
    """Make a message and let it leave at once."""
    if request.media_type == "text/plain":
        value: dict[str, Any] = {"message": mime_fields(request.body)}
    else:
        value = json_body(request, SEND_MAIL, "sendMail")
    message = _made(mailbox, value["message"])
    _sendable(mailbox, message)
    mailbox.messages.append(message)
    keep = value.get("saveToSentItems", True)
    mailbox.deliver(message, looks=fault.looks if fault else 0, keep=keep)
    return Reply(202)


OPERATIONS: dict[str, Callable[[Mailbox, Request, Fault | None], Reply]] = {
    "create": create,
    "get": get,
    "list": listed,
    "sent": listed,
    "update": update,
    "delete": delete,
    "send": send,
    "sendmail": send_mail,
}
