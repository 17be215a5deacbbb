"""The outbox: rows whose outcome is still to be published, and striking out what was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Connection, bindparam, text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.ledger.clock import Now


class Mark(NamedTuple):
    """Names one event: a row may have the next one by the time this one is confirmed."""

    job_id: str
    event: str
    updated_at: float


_DUE = text(
    "SELECT delivery.job_id, event, updated_at, company, user_id, kind, batch_id, batch_index,"
    " message_id, reason, attempts, transport, reply, recipients, enqueued_at, accepted_at,"
    " first_attempt_at, metadata, draft.web_link,"
    " CASE WHEN draft.content IS NULL THEN 0 ELSE 1 END AS draft_is_file"
    " FROM delivery LEFT JOIN draft ON draft.job_id = delivery.job_id AND event = 'drafted'"
    " WHERE event IS NOT NULL LIMIT :most"
)
_STRIKE = text(
    "UPDATE delivery SET event = NULL WHERE job_id IN :job_ids"
    " AND (job_id, event, updated_at) IN :marks RETURNING job_id"
).bindparams(bindparam("job_ids", expanding=True), bindparam("marks", expanding=True))


def due_events(connection: Connection, most: int) -> list[dict[str, Any]]:
    """Read some rows whose event is due."""
    return [dict(row) for row in connection.execute(_DUE, {"most": most}).mappings()]


def strike_out(connection: Connection, _now: Now, marks: Sequence[Mark]) -> list[Mark]:
    """Say that these were published; which of them were still due.

    A row that changed meanwhile keeps its event: that one tells something newer.
    """
    if not marks:
        return []
    named = {"job_ids": [mark.job_id for mark in marks], "marks": [tuple(mark) for mark in marks]}
    struck = set(connection.execute(_STRIKE, named).scalars())
    return [mark for mark in marks if mark.job_id in struck]
