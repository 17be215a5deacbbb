"""What one attempt came to, as frozen facts.

Delivery makes facts; metrics, logs and events are made from them in one place (telemetry).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply of a server: ``550 5.1.1 no such user`` (RFC 5321 4.2, RFC 3463)."""

    code: int
    text: str
    enhanced: str | None = None

    def __str__(self) -> str:
        return " ".join(part for part in (str(self.code), self.enhanced, self.text) if part)


class RecipientState(StrEnum):
    """What the server said of one recipient."""

    ACCEPTED = "accepted"
    DEFERRED = "deferred"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class RecipientReply:
    """One recipient, its state and the server's words."""

    address: str
    state: RecipientState
    reply: Reply


@dataclass(frozen=True, slots=True, repr=False)
class Draft:
    """A mail that was made and not sent.

    Attributes:
        remote_id: its immutable id in the mailbox; empty where it is only intended, or a file.
        web_link: where a person opens it; empty where it is a file.
        content: the unsent message as a file (RFC 5322), where that is what was made.
    """

    remote_id: str = ""
    web_link: str = ""
    content: bytes | None = None


@dataclass(frozen=True, slots=True)
class Transmission:
    """What a transport brings back when the server answered every step.

    Attributes:
        recipients: what the server said of each.
        reply: to the mail itself, or None where no recipient was accepted and so nothing was sent.
        draft: what was made instead, where the job was to compose.
        earlier: an earlier attempt had sent it already; this one only found out.
    """

    recipients: tuple[RecipientReply, ...]
    reply: Reply | None
    draft: Draft | None = None
    earlier: bool = False


def taken_whole(
    recipients: tuple[str, ...], reply: Reply, *, earlier: bool = False
) -> Transmission:
    """What a way brings back that speaks of a mail as a whole: all recipients share one reply."""
    heard = tuple(RecipientReply(each, RecipientState.ACCEPTED, reply) for each in recipients)
    return Transmission(heard, reply, earlier=earlier)


class TargetKind(StrEnum):
    """What a hold may stand on."""

    ALL = "all"
    SYSTEM = "system"
    COMPANY = "company"
    BATCH = "batch"
    SCOPE = "scope"
    ACCOUNT = "account"
    CREDENTIAL = "credential"
    SERVER = "server"


@dataclass(frozen=True, slots=True)
class HoldTarget:
    """What gets nothing for now: ``server:smtp.example.nz:587``, ``company:acme:batch``, ``all``.

    The names of jobs' kinds may follow ``all``, ``system``, a company and an account: no id has a
    colon in it.
    """

    kind: TargetKind
    key: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.key}" if self.key else self.kind.value

    @classmethod
    def of_context(cls, context: str) -> HoldTarget:
        """A company, or the system where the context is ``_system``."""
        return cls(TargetKind.SYSTEM) if context == "_system" else cls(TargetKind.COMPANY, context)

    @classmethod
    def of_batch(cls, company: str, batch_id: str) -> HoldTarget:
        """A batch: two companies may have one of the same name."""
        return cls(TargetKind.BATCH, f"{company}/{batch_id}")

    def only(self, kind: str) -> HoldTarget:
        """The same, but only its jobs of one kind."""
        return HoldTarget(self.kind, f"{self.key}:{kind}" if self.key else kind)

    @classmethod
    def parse(cls, text: str) -> HoldTarget:
        """Read ``kind:key``.

        Raises:
            ValueError: no such kind.
        """
        kind, _, key = text.partition(":")
        return cls(TargetKind(kind), key)


class Outcome(StrEnum):
    """The names of outcomes in metrics, logs and events."""

    SENT = "sent"
    DRAFTED = "drafted"
    DEFERRED = "deferred"
    HELD = "held"
    DEAD = "dead"
    UNKNOWN = "unknown"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Fact:
    """One outcome of one job: everything that metrics, logs and events say of it.

    Times are seconds; ``queue_wait_seconds`` runs from the producer's ``enqueued_at`` to the first
    begin, ``delivery_seconds`` from the first command to the last reply,
    ``data_seconds`` from the commit of ``begin`` to it, ``slot_wait_seconds`` from when the job could
    have gone.
    """

    outcome: Outcome
    job_id: str
    kind: str
    company: str
    user: str
    transport: str
    reason: str = ""
    reply: str = ""
    attempts: int = 0
    batch_id: str | None = None
    message_id: str | None = None
    traceparent: str | None = None
    recipients: tuple[RecipientReply, ...] = field(default=())
    queue_wait_seconds: float | None = None
    slot_wait_seconds: float | None = None
    delivery_seconds: float | None = None
    data_seconds: float | None = None
