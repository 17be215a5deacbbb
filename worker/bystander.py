"""Tells of outcomes that no delivery was there to report: expired, reaped, given up in its lane."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from worker.ledger import queries
from worker.ledger.rows import State
from worker.outcome import Fact, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sqlalchemy import Connection

    from worker.ledger.clock import Now
    from worker.ledger.ledger import Ledger
    from worker.ledger.queries import JobRecord

_OUTCOMES = {
    State.DEAD: Outcome.DEAD,
    State.UNKNOWN: Outcome.UNKNOWN,
    State.CANCELLED: Outcome.CANCELLED,
}


class Bystander:
    """Reads what became of jobs by their ids, and reports it like a delivery would."""

    def __init__(self, ledger: Ledger, report: Callable[[Fact], None]) -> None:
        self._ledger = ledger
        self._report = report

    def __call__(self, job_ids: Iterable[str]) -> None:
        """Report each of these jobs whose state is an outcome.

        Raises:
            LedgerUnavailable: the ledger is away.
        """
        for job_id in job_ids:
            record = self._ledger.read(partial(_find, job_id=job_id))
            if record is not None and record.state in _OUTCOMES:
                self._report(fact_of(record))


def fact_of(record: JobRecord) -> Fact:
    """The fact that a row's state is."""
    return Fact(
        outcome=_OUTCOMES[record.state],
        job_id=record.job_id,
        kind=record.kind,
        company=record.company,
        user=record.user,
        transport=record.transport,
        reason=record.reason,
        reply=record.reply,
        attempts=record.attempts,
        batch_id=record.batch_id,
        message_id=record.message_id,
        recipients=record.recipients,
    )


def _find(connection: Connection, _now: Now, *, job_id: str) -> JobRecord | None:
    return queries.find_job(connection, job_id)
