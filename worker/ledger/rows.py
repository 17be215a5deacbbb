"""What goes into the ledger and comes out of it, as plain frozen values."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from worker.outcome import Draft, RecipientReply, RecipientState, Reply

if TYPE_CHECKING:
    from worker.pace import Budget


class State(StrEnum):
    """Where a job is on its way."""

    WAITING = "waiting"
    PAUSED = "paused"
    CLAIMED = "claimed"
    DATA = "data"
    SENT = "sent"
    DRAFTED = "drafted"
    DEAD = "dead"
    UNKNOWN = "unknown"
    CANCELLED = "cancelled"


FINAL = frozenset({State.SENT, State.DRAFTED, State.CANCELLED})
"""States whose row needs its body no more; a dead job keeps it, a person may send it again."""


class Prio:
    """The order within a lane: what was tried before goes first."""

    RETRY = 0
    FIRST = 1


UNREADABLE = "unreadable"
"""The kind of a row that holds an envelope this version cannot read."""


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job on its way into the ledger.

    ``body`` is the envelope as it was published, ``metadata`` a JSON object or empty. Times are Unix seconds.
    """

    job_id: str
    company: str
    user: str
    kind: str
    fingerprint: str
    body: bytes
    enqueued_at: float
    due_at: float = 0.0
    expires_at: float | None = None
    batch_id: str | None = None
    batch_index: int | None = None
    idempotency_key: str | None = None
    subject: str = ""
    metadata: str = ""
    message_id: str = ""
    reason: str = ""
    event: str | None = None
    state: State = State.WAITING


@dataclass(frozen=True, slots=True)
class Claim:
    """A waiting job in a worker's hands, with one slot of each scope it comes under.

    Attributes:
        token: what begin, settle and release must show; good for one attempt.
        not_before_steady: on the steady clock, before when it must not begin.
        slots: how many slots the token holds.
        probes: the held targets that this attempt tries out.
        settled: the recipients that earlier attempts have settled, with the replies.
        perhaps_sent: whether the reply to an earlier attempt never came.
    """

    job_id: str
    company: str
    user: str
    kind: str
    body: bytes
    token: str
    not_before_steady: float
    slots: int
    attempts: int
    first_attempt_at: float | None
    backoff_seconds: float
    date_at: float | None
    enqueued_at: float
    waiting_since_at: float
    probes: tuple[str, ...] = ()
    settled: tuple[RecipientReply, ...] = ()
    perhaps_sent: bool = False


@dataclass(frozen=True, slots=True)
class Terms:
    """What a begin writes into the row besides its state.

    Attributes:
        date_at: the mail's Date, in Unix seconds; kept from the first attempt on.
        on_unknown: what becomes of the job if no reply ever comes.
        resend_after_seconds: how long it then rests, where it is sent again.
        budget: the recipients to be counted; None where nothing is.
    """

    worker: str
    transport: str
    date_at: float
    on_unknown: str
    resend_after_seconds: float
    budget: Budget | None = None


@dataclass(frozen=True, slots=True)
class Nothing:
    """No job to take: look again at ``until_steady`` if anything blocks (``scope`` says what)."""

    scope: str = ""
    until_steady: float = 0.0


@dataclass(frozen=True, slots=True)
class Settlement:
    """What one attempt came to, for the ledger.

    Attributes:
        state: the job's new state; WAITING for another attempt at ``due_at`` (Unix seconds).
        backoff_seconds: how much of the wait until then counts against ``retry_for``.
        counted: whether the attempt counts (a hold's does not).
        event: the outcome to be published.
        accepted: whether the server took the mail in this attempt, so that its window counts it.
        recipients: every recipient's last word so far.
        transport: what made the attempt, where no begin has said so.
        draft: what was made instead of sending; written in the same commit.
    """

    state: State
    outcome: str
    reason: str = ""
    due_at: float | None = None
    backoff_seconds: float = 0.0
    counted: bool = True
    reply: str = ""
    transport: str = ""
    event: str | None = None
    recipients: tuple[RecipientReply, ...] = field(default=())
    accepted: bool = False
    draft: Draft | None = None

    @property
    def answered(self) -> bool:
        """Whether the server answered this mail, so that server and credential work."""
        return bool(self.reply) and self.outcome not in {"held", "unknown"}


def dump_recipients(recipients: tuple[RecipientReply, ...]) -> str:
    """Write recipients as the JSON of a row."""
    return json.dumps(
        [
            [r.address, r.state.value, r.reply.code, r.reply.enhanced, r.reply.text]
            for r in recipients
        ],
        ensure_ascii=False,
    )


def load_recipients(dumped: str) -> tuple[RecipientReply, ...]:
    """Read the recipients of a row."""
    return tuple(
        RecipientReply(address, RecipientState(state), Reply(code, text, enhanced))
        for address, state, code, enhanced, text in json.loads(dumped)
    )
