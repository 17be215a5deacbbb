"""Microsoft's published shapes of what a mail client sends to Graph v1.0, as data that checks it.

Sources, all at learn.microsoft.com/graph/api: resources/message, recipient, itembody, fileattachment,
attachmentitem, internetmessageheader, singlevaluelegacyextendedproperty, extended-properties-overview
and user-post-messages, message-update (which fields can be changed), user-sendmail. Stricter than
Graph in one thing: a read-only field is refused, where Graph ignores some.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from typing import Any

from tests.support.graphd_wire import misshapen

Check = Callable[[Any, str], None]

MAX_HEADERS = 5
"""More custom headers are refused, and so is an empty list (msgraph-sdk-dotnet#2208)."""
MAX_RECIPIENTS = 500
"""Exchange Online's default of recipients in one message."""

_GUID = r"\{?[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\}?"
_KIND = (
    "(?:ApplicationTime|Binary|Boolean|CLSID|Currency|Double|Error|Float|Integer|Long|Null|Object"
    "|Short|String|SystemTime)"
)
_PROPERTY_ID = re.compile(
    rf"{_KIND} (?:{_GUID} (?:Name \S.*|Id 0x[0-9a-fA-F]{{1,4}})|0x[0-9a-fA-F]{{1,8}})"
)
_HEADER_NAME = re.compile(r"[Xx]-[!-9;-~]+")
_MESSAGE_ID = re.compile(r"<[^<>@\s]+@[^<>@\s]+>")
_BREAKS = re.compile(r"[\r\n]")


def _plain(kind: type, name: str) -> Check:
    def check(value: Any, where: str) -> None:
        if type(value) is not kind:
            raise misshapen(
                "RequestBodyRead",
                f"Cannot convert the value of '{where}' to the expected target type '{name}'.",
            )

    return check


string = _plain(str, "Edm.String")
boolean = _plain(bool, "Edm.Boolean")
integer = _plain(int, "Edm.Int64")


def one_of(*names: str) -> Check:
    """A string out of an enumeration, in any case."""

    def check(value: Any, where: str) -> None:
        string(value, where)
        if value.lower() not in names:
            raise misshapen(
                "RequestBodyRead", f"Requested value '{value}' of '{where}' was not found."
            )

    return check


def list_of(item: Check) -> Check:
    """A JSON array."""

    def check(value: Any, where: str) -> None:
        if not isinstance(value, list):
            raise misshapen(
                "RequestBodyRead",
                f"An unexpected node was found for '{where}'. A 'StartArray' node was expected.",
            )
        for element in value:
            item(element, where)

    return check


def record(kind: str, fields: Mapping[str, Check], *required: str, typed: bool = False) -> Check:
    """A JSON object with these fields and no others.

    Args:
        typed: it must say what it is, because the place takes more than one kind.
    """
    marker = f"#microsoft.graph.{kind}"

    def check(value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise misshapen(
                "RequestBodyRead",
                f"An unexpected node was found for '{where}'. A 'StartObject' node was expected.",
            )
        for name, inner in value.items():
            if name == "@odata.type" and inner == marker:
                continue
            if name not in fields:
                raise misshapen(
                    "RequestBodyRead",
                    f"The property '{name}' does not exist on type 'microsoft.graph.{kind}'. Make sure "
                    "to only use property names that are defined by the type.",
                )
            fields[name](inner, f"{where}.{name}")
        missing = [name for name in (*required, *["@odata.type"] * typed) if name not in value]
        if missing:
            raise misshapen(
                "ErrorInvalidRequest",
                f"The required property '{missing[0]}' of {where} is missing.",
            )

    return check


def content_bytes(value: Any, where: str) -> None:
    """Base64 of the standard alphabet, padded, without line ends."""
    string(value, where)
    try:
        base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise misshapen(
            "RequestBodyRead", f"Cannot convert '{where}' to the expected target type 'Edm.Binary'."
        ) from None


def _headers(value: Any, where: str) -> None:
    list_of(record("internetMessageHeader", {"name": string, "value": string}, "name", "value"))(
        value, where
    )
    if not 1 <= len(value) <= MAX_HEADERS:
        raise misshapen(
            "InvalidInternetMessageHeaderCollection",
            f"The number of internet message headers should be from 1 to {MAX_HEADERS}.",
        )
    for header in value:
        name, content = header["name"], header["value"]
        if not _HEADER_NAME.fullmatch(name):
            raise misshapen(
                "InvalidInternetMessageHeader",
                f"The internet message header name '{name}' should start with 'x-' or 'X-'.",
            )
        if _BREAKS.search(content) or len(name) + len(content) > 995:
            raise misshapen(
                "InvalidInternetMessageHeader", f"The value of the header '{name}' is not valid."
            )


def _message_id(value: Any, where: str) -> None:
    string(value, where)
    if not _MESSAGE_ID.fullmatch(value):
        raise misshapen("ErrorInvalidRequest", f"'{where}' is no message id of RFC 2822: {value}")


def _property_id(value: Any, where: str) -> None:
    string(value, where)
    if not _PROPERTY_ID.fullmatch(value):
        raise misshapen("ErrorInvalidExtendedProperty", f"'{where}' names no property: {value}")


def _one_line(value: Any, where: str) -> None:
    string(value, where)
    if _BREAKS.search(value):
        raise misshapen("ErrorInvalidRequest", f"'{where}' has a line end.")


def _refuse_update(value: Any, where: str) -> None:
    raise misshapen("ErrorInvalidPropertySet", f"'{where}' can not be set in this request.", 400)


_ADDRESS = record("emailAddress", {"name": _one_line, "address": _one_line}, "address")
_RECIPIENT = record("recipient", {"emailAddress": _ADDRESS}, "emailAddress")
_BODY = record("itemBody", {"contentType": one_of("text", "html"), "content": string})
_PROPERTY = record(
    "singleValueLegacyExtendedProperty", {"id": _property_id, "value": string}, "id", "value"
)
FILE_ATTACHMENT = record(
    "fileAttachment",
    {
        "name": _one_line,
        "contentBytes": content_bytes,
        "contentType": _one_line,
        "contentId": _one_line,
        "isInline": boolean,
    },
    "name",
    "contentBytes",
    typed=True,
)
UPDATABLE: dict[str, Check] = {
    "bccRecipients": list_of(_RECIPIENT),
    "body": _BODY,
    "categories": list_of(string),
    "ccRecipients": list_of(_RECIPIENT),
    "from": _RECIPIENT,
    "importance": one_of("low", "normal", "high"),
    "inferenceClassification": one_of("focused", "other"),
    "internetMessageId": _message_id,
    "isDeliveryReceiptRequested": boolean,
    "isRead": boolean,
    "isReadReceiptRequested": boolean,
    "replyTo": list_of(_RECIPIENT),
    "sender": _RECIPIENT,
    "singleValueExtendedProperties": list_of(_PROPERTY),
    "subject": _one_line,
    "toRecipients": list_of(_RECIPIENT),
}
"""Of a message (graph/api/message-update)."""
READ_ONLY: dict[str, Check] = dict.fromkeys(
    (
        "bodyPreview",
        "changeKey",
        "conversationId",
        "conversationIndex",
        "createdDateTime",
        "hasAttachments",
        "id",
        "isDraft",
        "lastModifiedDateTime",
        "parentFolderId",
        "receivedDateTime",
        "sentDateTime",
        "uniqueBody",
        "webLink",
    ),
    _refuse_update,
)
CREATED: dict[str, Check] = {
    **UPDATABLE,
    "attachments": list_of(FILE_ATTACHMENT),
    "internetMessageHeaders": _headers,
}
MESSAGE = record("message", {**CREATED, **READ_ONLY})
UPDATE = record(
    "message",
    {
        **UPDATABLE,
        **READ_ONLY,
        **dict.fromkeys(("attachments", "internetMessageHeaders"), _refuse_update),
    },
)
SEND_MAIL = record("sendMail", {"message": MESSAGE, "saveToSentItems": boolean}, "message")
UPLOAD_SESSION = record(
    "createUploadSession",
    {
        "AttachmentItem": record(
            "attachmentItem",
            {
                "attachmentType": one_of("file"),
                "name": _one_line,
                "size": integer,
                "contentType": _one_line,
                "contentId": _one_line,
                "isInline": boolean,
            },
            "attachmentType",
            "name",
            "size",
        )
    },
    "AttachmentItem",
)
