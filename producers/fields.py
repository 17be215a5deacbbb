"""The rules of a job's single fields, as types that pydantic checks.

Every message is one sentence that says what is allowed and never repeats the value.
"""

from __future__ import annotations

import base64
import binascii
import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, StrictInt, StrictStr
from pydantic import WithJsonSchema as Schema

from .addresses import has_control, parse_address, split_recipients

MAX_RECIPIENTS = 500
MAX_HEADERS = 100
MAX_HEADER_CHARACTERS = 10_000
MAX_METADATA = 50
MAX_METADATA_CHARACTERS = 1000
MAX_SUBJECT_CHARACTERS = 1000
MAX_KEY_CHARACTERS = 200
MAX_FILE_NAME_CHARACTERS = 255

ID_PATTERN = "[a-z0-9][a-z0-9_-]{0,62}"
USER_PATTERN = "[a-z0-9][a-z0-9_.-]{0,62}"
_COMPANY = re.compile(ID_PATTERN)
_USER = re.compile(USER_PATTERN)
_HEADER_NAME = re.compile(r"[!-9;-~]{1,76}")  # RFC 5322 3.6.8: ftext
_CONTENT_TYPE = re.compile(
    r"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+(?:; *[\x21-\x7e ]+)?", re.IGNORECASE
)
_CONTENT_ID = re.compile(r"[!#-;=?-Z\\^-~]{1,200}")
_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_OURS = {
    "bcc": "bcc",
    "cc": "cc",
    "date": "nothing: it is fixed at the first attempt",
    "disposition-notification-to": "read_receipt",
    "dkim-signature": "nothing: the server signs",
    "from": "sender",
    "message-id": "nothing: it is derived from the job's id",
    "mime-version": "text, html and attachments",
    "received": "nothing: servers write it",
    "reply-to": "reply_to",
    "return-path": "sender",
    "sender": "sender",
    "subject": "subject",
    "to": "to",
}


def _id(text: str) -> str:
    if not _COMPANY.fullmatch(text):
        raise ValueError(
            "not a company id: use a-z, 0-9, '-' and '_', a letter or digit first, at most 63"
        )
    return text


def _user(text: str) -> str:
    if not _USER.fullmatch(text) or ".." in text:
        raise ValueError(
            "not a user id: use a-z, 0-9, '-', '_' and single dots, a letter or digit first,"
            " at most 63"
        )
    return text


def _uuid(text: str) -> str:
    if not _UUID.fullmatch(text):
        raise ValueError("not a UUID in lower case with its four hyphens (RFC 9562)")
    return text


def _key(text: str) -> str:
    if not 1 <= len(text) <= MAX_KEY_CHARACTERS or has_control(text):
        raise ValueError(f"use 1 to {MAX_KEY_CHARACTERS} characters, no control characters")
    return text


def _subject(text: str) -> str:
    if len(text) > MAX_SUBJECT_CHARACTERS or has_control(text.replace("\t", " ")):
        raise ValueError(
            f"a subject is one line of at most {MAX_SUBJECT_CHARACTERS} characters"
            " without control characters"
        )
    return text


def _body(text: str) -> str:
    if "\0" in text:
        raise ValueError("a NUL character cannot be mailed")
    if _has_half_character(text):
        raise ValueError("half of a surrogate pair is no character")
    return text


def _has_half_character(text: str) -> bool:
    """Whether a text cannot be UTF-8: JSON's escapes and Python let such strings exist."""
    if text.isascii():
        return False
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def _address(text: str) -> str:
    parse_address(text)
    return text.strip()


def _addresses(value: Any) -> Any:
    if isinstance(value, str):
        value = split_recipients(value)
    if not isinstance(value, (list, tuple)):
        raise ValueError("give a list of addresses, or one string that separates them by ';'")  # noqa: TRY004 pydantic reports ValueError, not TypeError
    if len(value) > MAX_RECIPIENTS:
        raise ValueError(f"at most {MAX_RECIPIENTS} recipients in one job")
    return tuple(value)


def _headers(headers: dict[str, str]) -> dict[str, str]:
    if len(headers) > MAX_HEADERS:
        raise ValueError(f"at most {MAX_HEADERS} headers")
    if len({name.lower() for name in headers}) < len(headers):
        raise ValueError("the same header twice, in another case")
    for name, text in headers.items():
        lower = name.lower()
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError("a header name is 1 to 76 printable ASCII characters without ':'")
        if lower in _OURS:
            raise ValueError(f"{name} cannot be set as a header: use {_OURS[lower]}")
        if lower.startswith(("content-", "resent-")):
            raise ValueError(f"{name} cannot be set as a header: it describes the whole message")
        if len(text) > MAX_HEADER_CHARACTERS or has_control(text.replace("\t", " ")):
            raise ValueError(
                f"the value of {name} must be one line of at most {MAX_HEADER_CHARACTERS}"
                " characters without control characters"
            )
    return headers


def _metadata(metadata: dict[str, str]) -> dict[str, str]:
    if len(metadata) > MAX_METADATA or any(
        len(text) > MAX_METADATA_CHARACTERS or _has_half_character(text)
        for item in metadata.items()
        for text in item
    ):
        raise ValueError(
            f"at most {MAX_METADATA} entries of at most {MAX_METADATA_CHARACTERS} characters"
        )
    return metadata


def _moment(value: Any) -> datetime:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError("not a time: write RFC 3339, such as 2026-11-24T08:00:00Z") from None
    if not isinstance(value, datetime):
        raise ValueError("not a time: give a datetime with a time zone")  # noqa: TRY004 pydantic reports ValueError, not TypeError
    if value.utcoffset() is None:
        raise ValueError("a time without a time zone: use datetime.now(UTC) or add an offset")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("this time is outside the calendar") from None


def _bytes(value: Any) -> bytes:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if not isinstance(value, str):
        raise ValueError("give bytes (on the wire: base64)")  # noqa: TRY004 pydantic reports ValueError, not TypeError
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("not base64 (RFC 4648 4, with padding, without line breaks)") from None


def _file_name(text: str) -> str:
    bad = has_control(text) or "/" in text or "\\" in text or text in {".", ".."}
    if bad or not 1 <= len(text) <= MAX_FILE_NAME_CHARACTERS:
        raise ValueError(
            f"a file name has 1 to {MAX_FILE_NAME_CHARACTERS} characters, no path, no controls"
        )
    return text


def _content_type(text: str) -> str:
    if not _CONTENT_TYPE.fullmatch(text) or text.lower().startswith("multipart/"):
        raise ValueError("not a type of one part, such as application/pdf")
    return text


def _reference(text: str) -> str:
    parts = text.split("/")
    if not 1 <= len(text) <= MAX_METADATA_CHARACTERS or has_control(text) or "\\" in text:
        raise ValueError("a reference is a relative path of at most 1000 characters")
    if any(part in {"", ".", ".."} for part in parts):
        raise ValueError("a reference is a relative path without '.', '..' and empty parts")
    return text


def _matching(pattern: re.Pattern[str], problem: str) -> AfterValidator:
    def check(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(problem)
        return text

    return AfterValidator(check)


def _natural(number: int) -> int:
    if not 0 <= number < 1 << 53:
        raise ValueError("use a number from 0 to 2^53 - 1")
    return number


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


CompanyId = Annotated[StrictStr, AfterValidator(_id)]
UserId = Annotated[StrictStr, AfterValidator(_user)]
JobId = Annotated[StrictStr, AfterValidator(_uuid)]
Key = Annotated[StrictStr, AfterValidator(_key)]
Subject = Annotated[StrictStr, AfterValidator(_subject)]
Body = Annotated[StrictStr, AfterValidator(_body)]
Address = Annotated[StrictStr, AfterValidator(_address)]
Addresses = Annotated[tuple[Address, ...], BeforeValidator(_addresses)]
Headers = Annotated[dict[StrictStr, StrictStr], AfterValidator(_headers)]
Metadata = Annotated[dict[StrictStr, StrictStr], AfterValidator(_metadata)]
Moment = Annotated[datetime, BeforeValidator(_moment)]
Content = Annotated[
    bytes,
    BeforeValidator(_bytes),
    PlainSerializer(_base64, return_type=str, when_used="json"),
    Schema({"type": "string", "contentEncoding": "base64"}),
]
FileName = Annotated[StrictStr, AfterValidator(_file_name)]
ContentType = Annotated[StrictStr, AfterValidator(_content_type)]
ContentId = Annotated[
    StrictStr, _matching(_CONTENT_ID, "a content id is printable ASCII without <, > and @")
]
Reference = Annotated[StrictStr, AfterValidator(_reference)]
Sha256 = Annotated[StrictStr, _matching(_SHA256, "a SHA-256 is 64 digits in lower-case hex")]
Traceparent = Annotated[
    StrictStr, _matching(_TRACEPARENT, "not a W3C traceparent, such as 00-4bf9…-00f0…-01")
]
Count = Annotated[StrictInt, AfterValidator(_natural)]
