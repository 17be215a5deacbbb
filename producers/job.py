"""The job: one email to handle, as it travels from a producer to a worker. Version 1.

Strict when written (an unknown field is an error), additive when read (``Job.read`` ignores
what it does not know). A field that must be understood raises ``SCHEMA_VERSION``.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Self

from pydantic import BaseModel, ConfigDict, StrictBool, StrictInt, ValidationError, model_validator

from .addresses import parse_address
from .errors import InvalidJob
from .fields import (
    MAX_RECIPIENTS,
    Address,
    Addresses,
    Body,
    CompanyId,
    Content,
    ContentId,
    ContentType,
    Count,
    FileName,
    Headers,
    JobId,
    Key,
    Metadata,
    Moment,
    Reference,
    Sha256,
    Subject,
    Traceparent,
    UserId,
)
from .topology import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic_core import ErrorDetails

SCHEMA_VERSION: Final = 1
MAX_AHEAD: Final = timedelta(days=366)
#: The part of Message-ID behind the @ where the job names no sender.
MESSAGE_ID_DOMAIN: Final = "postmeter.local"
# Fields whose values are nobody's business in an error.
_LONGEST_PART = 80
_SILENT = {"attachments", "content", "headers", "html", "metadata", "text"}

__all__ = ["MAX_AHEAD", "SCHEMA_VERSION", "Attachment", "Job", "Kind", "parse_address"]


class _Frozen(BaseModel):
    """Immutable, and every error of it an ``InvalidJob``."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    if not TYPE_CHECKING:  # the type checker keeps the signature made from the fields

        def __init__(self, **fields: Any) -> None:
            try:
                super().__init__(**fields)
            except ValidationError as error:
                raise _invalid(error.errors(include_url=False)[0]) from None


class Attachment(_Frozen):
    """A file that goes with the email: inline, or by reference where it is too large for that.

    Attributes:
        name: the file's name, without a path.
        content_type: such as ``application/pdf``.
        content: the bytes themselves (base64 on the wire).
        reference: instead of them a path below the workers' attachment folder; then size and
            sha256 are needed.
        size: how many bytes.
        sha256: their digest.
        content_id: set for an image that the html shows as ``cid:…``.
    """

    name: FileName
    content_type: ContentType = "application/octet-stream"
    content: Content | None = None
    reference: Reference | None = None
    size: Count | None = None
    sha256: Sha256 | None = None
    content_id: ContentId | None = None

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        return [("name", self.name), ("content_type", self.content_type)]

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.content is None) == (self.reference is None):
            raise ValueError("give either content or reference")
        if self.content is None:
            if self.size is None or self.sha256 is None:
                raise ValueError("a reference needs size and sha256")
            return self
        if self.size not in (None, len(self.content)):
            raise ValueError("size is not the length of content")
        if self.sha256 not in (None, hashlib.sha256(self.content).hexdigest()):
            raise ValueError("sha256 is not the digest of content")
        return self

    @property
    def digest(self) -> str:
        """The SHA-256 of the bytes, in hex, wherever they are."""
        if self.content is not None:
            return hashlib.sha256(self.content).hexdigest()
        return self.sha256 or ""


class Job(_Frozen):
    """One email to handle.

    ``id`` is the same in every copy and every attempt. Times are aware and in UTC. Recipients are
    ``addr`` or ``Name <addr>``; a string separates them by ``;``.

    Raises:
        InvalidJob: one line: the field, what is allowed, the value shortened.
    """

    schema_version: StrictInt = SCHEMA_VERSION
    id: JobId
    kind: Kind
    company: CompanyId | None = None
    user: UserId | None = None
    batch_id: Key | None = None
    batch_index: Count | None = None
    idempotency_key: Key | None = None
    sender: Address | None = None
    reply_to: Addresses = ()
    to: Addresses = ()
    cc: Addresses = ()
    bcc: Addresses = ()
    subject: Subject
    text: Body | None = None
    html: Body | None = None
    headers: Headers = {}
    attachments: tuple[Attachment, ...] = ()
    read_receipt: StrictBool = False
    apply_user_defaults: StrictBool = False
    error_report: StrictBool = False
    enqueued_at: Moment
    expires_at: Moment | None = None
    send_at: Moment | None = None
    traceparent: Traceparent | None = None
    metadata: Metadata = {}

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """Only what identifies it: a job in a log or a traceback shows no mail and no address."""
        return [("id", self.id), ("kind", self.kind), ("company", self.company)]

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not 1 <= self.schema_version <= SCHEMA_VERSION:
            raise ValueError(f"schema_version: this package writes {SCHEMA_VERSION}")
        recipients = len(self.to) + len(self.cc) + len(self.bcc)
        if self.error_report and (recipients or self.company):
            raise ValueError("an error report is the system's, and its recipients are set there")
        if not recipients and not self.error_report:
            raise ValueError("to: no recipients: give at least one in to, cc or bcc")
        if recipients > MAX_RECIPIENTS:
            raise ValueError(
                f"to: {recipients} recipients in to, cc and bcc; at most {MAX_RECIPIENTS} in one job"
            )
        if self.text is None and self.html is None:
            raise ValueError("text: give text, html or both")
        if (self.batch_id is None) != (self.batch_index is None):
            raise ValueError("batch_id: give batch_id and batch_index together, or neither")
        if self.expires_at and self.send_at and self.expires_at <= self.send_at:
            raise ValueError("expires_at: the job would expire before its send_at")
        return self

    def check_times(self, now: datetime) -> None:
        """Check what depends on the present time.

        Raises:
            InvalidJob: ``send_at`` is more than a year ahead of ``now``.
        """
        if self.send_at is not None and self.send_at > now + MAX_AHEAD:
            raise InvalidJob(
                "send_at", "at most one year ahead", self.send_at.isoformat(timespec="seconds")
            )

    @property
    def recipients(self) -> tuple[str, ...]:
        """Everyone in to, cc and bcc, as written."""
        return self.to + self.cc + self.bcc

    @property
    def message_id(self) -> str:
        """The Message-ID header, derived from the id alone (and the sender's domain)."""
        domain = MESSAGE_ID_DOMAIN
        if self.sender is not None:
            written = parse_address(self.sender)[1].rpartition("@")[2].lower()
            domain = _ascii_domain(written) or domain
        return f"<{self.id}@{domain}>"

    def fingerprint(self) -> str:
        """What makes two jobs the same mail: a digest of everything that shapes it.

        Not ids, times, trace or metadata: a copy published a day later has the same.
        """
        shaping = [
            self.kind,
            self.company,
            self.user,
            self.sender,
            *(list(group) for group in (self.reply_to, self.to, self.cc, self.bcc)),
            self.subject,
            self.text,
            self.html,
            sorted(self.headers.items()),
            [(a.name, a.content_type, a.digest, a.content_id) for a in self.attachments],
            self.read_receipt,
            self.apply_user_defaults,
            self.error_report,
        ]
        encoded = json.dumps(shaping, ensure_ascii=False, separators=(",", ":")).encode()
        return hashlib.sha256(encoded).hexdigest()

    def to_json(self) -> str:
        """The job as one JSON object; what is at its default is left out."""
        fields = self.model_dump_json(exclude_defaults=True)
        # The version is its own default, and the one field that must never be left out.
        return f'{{"schema_version":{self.schema_version},{fields[1:]}'

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> Job:
        """A job from decoded JSON of this schema version; unknown fields are ignored.

        Raises:
            InvalidJob: it is none.
        """
        known = {key: value for key, value in fields.items() if key in cls.model_fields}
        attachments = known.get("attachments")
        if isinstance(attachments, list):
            known["attachments"] = tuple(map(_known_attachment, attachments))
        return cls(**known)


def _known_attachment(fields: Any) -> Any:
    if not isinstance(fields, dict):
        return fields
    return {key: value for key, value in fields.items() if key in Attachment.model_fields}


def _ascii_domain(domain: str) -> str:
    """A domain as Message-ID may hold it, or an empty string (an address literal has none)."""
    labels = [
        label if label.isascii() else "xn--" + label.encode("punycode").decode("ascii")
        for label in domain.split(".")
    ]
    return "" if domain.startswith("[") else ".".join(labels)


def _spoken(part: int | str) -> str:
    """A part of a field's path; a header's name in it is the publisher's, and may be anything."""
    text = str(part)
    return (
        text if text.isprintable() and len(text) <= _LONGEST_PART else ascii(text[:_LONGEST_PART])
    )


def _invalid(error: ErrorDetails) -> InvalidJob:
    """The first error of pydantic's, as one line of ours."""
    field = ".".join(map(_spoken, error["loc"]))
    value = None if _SILENT & set(map(str, error["loc"])) else error.get("input")
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, InvalidJob):  # an attachment's own line: the field within it, no value
        within = "" if cause.field == "job" else f".{cause.field}"
        return InvalidJob(f"{field}{within}", cause.problem)
    problem = str(cause) if cause is not None else error["msg"]
    match error["type"]:
        case "missing":
            problem, value = "is missing", None
        case "extra_forbidden":
            problem = "is not a field of a job"
        case _:
            pass
    if not field:
        # A rule about several fields names the one to mend itself.
        named, colon, rest = problem.partition(": ")
        return InvalidJob(named, rest) if colon else InvalidJob("job", problem)
    return InvalidJob(field, problem, value)
