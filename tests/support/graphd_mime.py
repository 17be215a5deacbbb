"""What Graph makes of a message that comes as MIME, in base64.

Of its headers only those with ``X-`` stay beside the usual ones (msgraph-sdk-dotnet#2209).
"""

from __future__ import annotations

import base64
import binascii
from email import message_from_bytes, policy
from typing import TYPE_CHECKING, Any

from tests.support.graphd_wire import misshapen

if TYPE_CHECKING:
    from email.message import EmailMessage


def mime_fields(encoded: bytes) -> dict[str, Any]:
    """Return a MIME message as the fields of one in JSON.

    Raises:
        Refused: it is no base64.
    """
    try:
        content = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise misshapen(
            "ErrorMimeContentInvalidBase64String", "Invalid base64 string for MIME content."
        ) from None
    parsed = message_from_bytes(content, policy=policy.default)
    body = parsed.get_body(("html", "plain"))
    value: dict[str, Any] = {
        "subject": str(parsed.get("Subject", "")),
        "body": {
            "contentType": "html" if body and body.get_content_subtype() == "html" else "text",
            "content": body.get_content() if body else "",
        },
        "internetMessageHeaders": [
            {"name": name, "value": str(text)}
            for name, text in parsed.items()
            if name.lower().startswith("x-")
        ],
        "attachments": [_file(part) for part in parsed.iter_attachments()],
    }
    for kind in ("to", "cc", "bcc"):
        header = parsed.get(kind)
        value[f"{kind}Recipients"] = [
            {"emailAddress": {"name": one.display_name, "address": one.addr_spec}}
            for one in (header.addresses if header else ())
        ]
    if "Message-ID" in parsed:
        value["internetMessageId"] = str(parsed["Message-ID"]).strip()
    return value


def _file(part: EmailMessage) -> dict[str, Any]:
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes), "a part that has parts is no file"
    return {
        "name": part.get_filename() or "",
        "contentType": part.get_content_type(),
        "contentBytes": base64.b64encode(payload).decode(),
    }
