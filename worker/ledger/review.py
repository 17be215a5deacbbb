"""What became of a whole run: the questions that a demo and a proof ask."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

if TYPE_CHECKING:
    from worker.ledger.clock import Now

_OPEN = text(
    "SELECT company, count(*) AS jobs FROM delivery"
    " WHERE state IN ('waiting', 'paused', 'claimed', 'data', 'unknown') GROUP BY company"
)
_STATES = text("SELECT state, count(*) AS jobs FROM delivery GROUP BY state")
_ONCE_UNKNOWN = text(
    "SELECT DISTINCT d.message_id FROM attempt a JOIN delivery d ON d.job_id = a.job_id"
    " WHERE a.outcome = 'unknown'"
)


def open_jobs_by_company(connection: Connection, _now: Now) -> dict[str, int]:
    """How many jobs of each company are not final, nor dead."""
    return {row.company: row.jobs for row in connection.execute(_OPEN)}


def jobs_by_state(connection: Connection, _now: Now) -> dict[str, int]:
    """How many jobs are in each state."""
    return {row.state: row.jobs for row in connection.execute(_STATES)}


def message_ids_once_unknown(connection: Connection, _now: Now) -> frozenset[str]:
    """The Message-IDs of mails with an attempt whose reply never came."""
    return frozenset(connection.execute(_ONCE_UNKNOWN).scalars())
