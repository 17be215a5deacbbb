"""What people ask of single jobs and batches. Nothing here changes a row.

Each question is answered from an index, so that a long backlog or history costs it little.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import Connection, text

from worker.ledger.lanes import Lane
from worker.ledger.rows import Prio, State, load_recipients

if TYPE_CHECKING:
    from worker.ledger.clock import Now
    from worker.outcome import RecipientReply


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """One job as the ledger has it; times are Unix seconds.

    Attributes:
        body: the envelope as it was published; None once the state is final.
        recipients: every recipient's last word so far; empty before the first attempt.
    """

    job_id: str
    company: str
    user: str
    kind: str
    batch_id: str | None
    state: State
    prio: int
    seq: int
    due_at: float
    expires_at: float | None
    reason: str
    body: bytes | None
    subject: str
    message_id: str
    attempts: int
    worker: str | None
    transport: str
    reply: str
    recipients: tuple[RecipientReply, ...]
    enqueued_at: float
    accepted_at: float
    updated_at: float

    @property
    def lane(self) -> Lane:
        """The line it waits or waited in."""
        return Lane(self.company, self.user, self.kind)


class AttemptRecord(NamedTuple):
    """One attempt; times are Unix seconds, ``outcome`` is empty while it runs."""

    n: int
    worker: str
    begun_at: float
    ended_at: float | None
    outcome: str
    reply: str


class Listed(NamedTuple):
    """One line of a list of jobs; ``updated_at`` is Unix seconds."""

    job_id: str
    company: str
    user: str
    kind: str
    batch_id: str | None
    attempts: int
    reason: str
    updated_at: float


@dataclass(frozen=True, slots=True)
class Selection:
    """Which jobs of a state are meant.

    Attributes:
        reason: what their reason must contain, in any case.
    """

    state: State
    company: str | None = None
    reason: str = ""

    def named(self) -> dict[str, object]:
        """The parameters of ``_SELECTED``."""
        escaped = self.reason.lower()
        for special in "\\%_":
            escaped = escaped.replace(special, f"\\{special}")
        return {"state": self.state.value, "company": self.company, "reason": f"%{escaped}%"}


_SELECTED = (
    " FROM delivery WHERE state = :state AND (CAST(:company AS VARCHAR) IS NULL"
    " OR company = :company)"
    " AND lower(reason) LIKE :reason ESCAPE '\\'"
)
_JOB = text(
    "SELECT job_id, company, user_id, kind, batch_id, state, prio, seq, due_at, expires_at, reason,"
    " body, subject, message_id, attempts, worker, transport, reply, recipients, enqueued_at,"
    " accepted_at, updated_at FROM delivery WHERE job_id = :job_id"
)
_STATE = text("SELECT state FROM delivery WHERE job_id = :job_id")
_ATTEMPTS = text(
    "SELECT n, worker, begun_at, ended_at, outcome, reply FROM attempt"
    " WHERE job_id = :job_id ORDER BY n"
)
_LIST = text(
    "SELECT job_id, company, user_id, kind, batch_id, attempts, reason, updated_at"
    + _SELECTED
    + " ORDER BY updated_at DESC, job_id LIMIT :most"
)
_COUNT = text("SELECT count(*)" + _SELECTED)
_IDS = text("SELECT job_id" + _SELECTED + " ORDER BY updated_at, job_id")
_RIVAL = text(
    "SELECT other.job_id FROM delivery mine JOIN delivery other"
    " ON other.company = mine.company AND other.kind = mine.kind"
    " AND other.idempotency_key = mine.idempotency_key"
    " AND other.state NOT IN ('dead', 'cancelled')"
    " WHERE mine.job_id = :job_id AND other.job_id <> mine.job_id"
)
_BATCH = text(
    "SELECT company, state, count(*) AS jobs FROM delivery WHERE batch_id = :batch_id"
    " GROUP BY company, state"
)
_BATCH_WINDOW = text(
    "SELECT count(*) FROM attempt a JOIN delivery d ON d.job_id = a.job_id"
    " WHERE a.accepted_steady > :since AND d.batch_id = :batch_id AND d.company = :company"
)
_BATCH_LAST = text(
    "SELECT job_id FROM delivery WHERE batch_id = :batch_id AND company = :company"
    " AND state IN ('waiting', 'paused') AND prio = :prio"
    " ORDER BY due_at DESC, seq DESC LIMIT 1"
)


def find_job(connection: Connection, job_id: str) -> JobRecord | None:
    """Read one job."""
    row = connection.execute(_JOB, {"job_id": job_id}).mappings().first()
    if row is None:
        return None
    fields = dict(row)
    return JobRecord(
        user=fields.pop("user_id"),
        state=State(fields.pop("state")),
        recipients=load_recipients(fields.pop("recipients")),
        **fields,
    )


def state_of(connection: Connection, job_id: str) -> State | None:
    """Read where a job is on its way."""
    state = connection.execute(_STATE, {"job_id": job_id}).scalar()
    return None if state is None else State(state)


def attempts_of(connection: Connection, job_id: str) -> list[AttemptRecord]:
    """List a job's attempts, the first one first."""
    return [AttemptRecord(*row) for row in connection.execute(_ATTEMPTS, {"job_id": job_id})]


def list_jobs(connection: Connection, selection: Selection, *, most: int) -> list[Listed]:
    """List selected jobs, the one that changed last first."""
    named = {**selection.named(), "most": most}
    return [Listed(*row) for row in connection.execute(_LIST, named)]


def count_jobs(connection: Connection, selection: Selection) -> int:
    """Count the selected jobs."""
    return int(connection.execute(_COUNT, selection.named()).scalar_one())


def ids_of(connection: Connection, selection: Selection) -> list[str]:
    """List the ids of all selected jobs, the one that changed longest ago first."""
    return list(connection.execute(_IDS, selection.named()).scalars())


def rival_of(connection: Connection, job_id: str) -> str | None:
    """Find the job that meanwhile took over a dead job's idempotency key.

    While there is one, the dead job must not wait again: the key would stand for two mails.
    """
    return connection.execute(_RIVAL, {"job_id": job_id}).scalar()


def batch_counts(connection: Connection, batch_id: str) -> dict[str, dict[State, int]]:
    """Count a batch's jobs by company and state; two companies may use the same batch id."""
    found: dict[str, dict[State, int]] = {}
    for row in connection.execute(_BATCH, {"batch_id": batch_id}):
        found.setdefault(row.company, {})[State(row.state)] = row.jobs
    return found


def batch_window(
    connection: Connection, now: Now, company: str, batch_id: str, *, window_seconds: float
) -> int:
    """Count what servers accepted of a batch in the last ``window_seconds``."""
    since = now.steady - window_seconds
    named = {"batch_id": batch_id, "company": company, "since": since}
    return int(connection.execute(_BATCH_WINDOW, named).scalar_one())


def last_of_batch(connection: Connection, company: str, batch_id: str) -> list[JobRecord]:
    """Find the jobs of a batch that may leave last: of those never tried, and of those tried."""
    named = {"batch_id": batch_id, "company": company}
    ids = [
        connection.execute(_BATCH_LAST, {**named, "prio": prio}).scalar()
        for prio in (Prio.FIRST, Prio.RETRY)
    ]
    found = [find_job(connection, job_id) for job_id in ids if job_id is not None]
    return [job for job in found if job is not None]
