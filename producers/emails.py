"""An email as an application writes it, before it is a job."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from .job import Attachment, Job

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .topology import Kind

# What a job has under the same name; what is not set is left to the job's own default.
_COPIED: Final = (
    "attachments",
    "bcc",
    "cc",
    "expires_at",
    "headers",
    "html",
    "idempotency_key",
    "metadata",
    "read_receipt",
    "reply_to",
    "send_at",
    "sender",
    "text",
    "to",
    "traceparent",
)
_NOTHING: Final[tuple[Any, ...]] = (None, (), {}, False)


@dataclass(frozen=True, slots=True, repr=False)
class Email:
    """One email. It is checked when it is published, all of it.

    Attributes:
        to, cc, bcc, reply_to: addresses, ``addr`` or ``Name <addr>``: a list, or one string that
            separates them by ``;``.
        subject: one line.
        text, html: the body; at least one.
        sender: whom it is from; left out, the user's own address.
        headers: further header fields.
        attachments: files, inline or by reference.
        read_receipt: whether to ask for one.
        idempotency_key: the same key with the same mail is sent once.
        send_at: not before this time (aware, at most a year ahead).
        expires_at: not after this time (aware).
        apply_user_defaults: add the user's signature, cc, bcc and reply-to; left out: only where
            a draft is composed.
        metadata: the application's own words about it; they come back in events.
        traceparent: W3C trace context.
    """

    to: str | Sequence[str]
    subject: str
    text: str | None = field(default=None, kw_only=True)
    html: str | None = field(default=None, kw_only=True)
    sender: str | None = field(default=None, kw_only=True)
    cc: str | Sequence[str] = field(default=(), kw_only=True)
    bcc: str | Sequence[str] = field(default=(), kw_only=True)
    reply_to: str | Sequence[str] | None = field(default=None, kw_only=True)
    headers: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    attachments: Sequence[Attachment] = field(default=(), kw_only=True)
    read_receipt: bool = field(default=False, kw_only=True)
    idempotency_key: str | None = field(default=None, kw_only=True)
    send_at: datetime | None = field(default=None, kw_only=True)
    expires_at: datetime | None = field(default=None, kw_only=True)
    apply_user_defaults: bool | None = field(default=None, kw_only=True)
    metadata: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    traceparent: str | None = field(default=None, kw_only=True)

    def __repr__(self) -> str:
        return f"Email(<{len(self.to)} in to>)" if not isinstance(self.to, str) else "Email(<to>)"

    def to_job(
        self,
        kind: Kind,
        job_id: str,
        *,
        company: str | None,
        user: str | None,
        batch: tuple[str, int] | None = None,
        error_report: bool = False,
        now: datetime | None = None,
    ) -> Job:
        """The job that carries this email.

        Raises:
            InvalidJob: it is not an email that can be sent; one line says why.
        """
        enqueued_at = now or datetime.now(UTC)
        defaults = self.apply_user_defaults
        fields: dict[str, Any] = {
            name: value for name in _COPIED if (value := getattr(self, name)) not in _NOTHING
        }
        fields["apply_user_defaults"] = kind == "compose" if defaults is None else defaults
        if batch is not None:
            fields["batch_id"], fields["batch_index"] = batch
        if error_report:
            fields["error_report"] = True
        job = Job(
            id=job_id,
            kind=kind,
            company=company,
            user=user,
            subject=self.subject,
            enqueued_at=enqueued_at,
            **fields,
        )
        if job.send_at is not None:
            job.check_times(enqueued_at)
        return job
