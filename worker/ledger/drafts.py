"""Drafts: what was made of a job and not sent, or made in a mailbox before it is sent.

One row a job, written only by whoever has the job's claim, so that of two workers who believe that
a job is theirs one cannot hide the other's draft. It goes with the job's row, and when the job is
cancelled. A drafted job has its draft from the same commit on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import Connection, text

from worker.errors import BeginRefused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.ledger.clock import Now
    from worker.outcome import Draft


class DraftRecord(NamedTuple):
    """A draft without its content.

    Attributes:
        remote_id: its id in the mailbox; empty where it was only intended, or is a file.
        web_link: where a person opens it; empty where it is a file.
        size_bytes: of the file; None where it is none.
        made_at: Unix seconds.
    """

    remote_id: str
    web_link: str
    size_bytes: int | None
    made_at: float


_OWN = text(
    "SELECT 1 FROM delivery WHERE job_id = :job_id AND claim = :claim"
    " AND state IN ('claimed', 'data') FOR UPDATE"
)
_INTEND = text(
    "INSERT INTO draft (job_id, made_at) VALUES (:job_id, :now) ON CONFLICT (job_id) DO NOTHING"
)
_KEEP = text(
    "INSERT INTO draft (job_id, remote_id, web_link, content, made_at)"
    " VALUES (:job_id, :remote_id, :web_link, :content, :now)"
    " ON CONFLICT (job_id) DO UPDATE SET remote_id = excluded.remote_id,"
    " web_link = excluded.web_link, content = excluded.content, made_at = excluded.made_at"
)
_FIND = text(
    "SELECT remote_id, web_link, length(content) AS size_bytes, made_at FROM draft"
    " WHERE job_id = :job_id"
)
_CONTENT = text("SELECT content FROM draft WHERE job_id = :job_id")
_FORGET = text("DELETE FROM draft WHERE job_id = :job_id")


def kind_of(*, is_file: bool) -> str:
    """Return what a draft is called where applications and scripts read of it."""
    return "eml" if is_file else "microsoft-365"


def intend(connection: Connection, now: Now, job_id: str, *, claim: str) -> None:
    """Note that a draft is about to be made; a draft that is known already stays.

    Raises:
        BeginRefused: the job is not this claim's any more.
    """
    _require_claim(connection, job_id, claim)
    connection.execute(_INTEND, {"job_id": job_id, "now": now.wall})


def remember(connection: Connection, now: Now, job_id: str, draft: Draft, *, claim: str) -> None:
    """Note what was made, in place of what was known.

    Raises:
        BeginRefused: the job is not this claim's any more.
    """
    _require_claim(connection, job_id, claim)
    keep(connection, now, job_id, draft)


def _require_claim(connection: Connection, job_id: str, claim: str) -> None:
    named = {"job_id": job_id, "claim": claim}
    if connection.execute(_OWN, named).first() is None:
        raise BeginRefused("the claim is spent: the job was cancelled, reaped or moved")


def keep(connection: Connection, now: Now, job_id: str, draft: Draft) -> None:
    """Write a draft; for a caller who has changed the job's row in the same transaction."""
    connection.execute(
        _KEEP,
        {
            "job_id": job_id,
            "remote_id": draft.remote_id,
            "web_link": draft.web_link,
            "content": draft.content,
            "now": now.wall,
        },
    )


def find(connection: Connection, job_id: str) -> DraftRecord | None:
    """Read what is known of a job's draft."""
    row = connection.execute(_FIND, {"job_id": job_id}).first()
    return None if row is None else DraftRecord(*row)


def content_of(connection: Connection, job_id: str) -> bytes | None:
    """Read the unsent message of a job; None where there is none."""
    content = connection.execute(_CONTENT, {"job_id": job_id}).scalar()
    return None if content is None else bytes(content)


def forget(connection: Connection, job_ids: Sequence[str]) -> None:
    """Delete the drafts of jobs that are cancelled, or pruned."""
    if job_ids:
        connection.execute(_FORGET, [{"job_id": job_id} for job_id in job_ids])
