"""What transports remember of drafts, kept in the ledger (``worker/ledger/drafts.py``)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from worker.ledger import drafts
from worker.outcome import Draft

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from worker.ledger.clock import Now
    from worker.ledger.drafts import DraftRecord
    from worker.ledger.ledger import Ledger


class LedgerDrafts:
    """The ``Drafts`` of ``transports/base.py``: every call returns when the ledger has committed."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def find(self, job_id: str) -> Draft | None:
        """Return the draft of a job, without the content of a file.

        Raises:
            LedgerUnavailable: the ledger is away.
        """
        found = await self._ledger.run(partial(_find, job_id=job_id))
        return None if found is None else Draft(found.remote_id, found.web_link)

    async def intend(self, job_id: str, *, claim: str) -> None:
        """Commit that a draft is about to be made.

        Raises:
            BeginRefused: the job is not this claim's any more: make none.
            LedgerUnavailable: the same; it may be committed all the same, which does no harm.
        """
        await self._ledger.run(partial(drafts.intend, job_id=job_id, claim=claim))

    async def remember(self, job_id: str, draft: Draft, *, claim: str) -> None:
        """Commit what was made.

        Raises:
            BeginRefused: the job is not this claim's any more: what was made is nobody's.
            LedgerUnavailable: nothing may be sent of it; the next attempt finds the intention.
        """
        await self._ledger.run(partial(drafts.remember, job_id=job_id, draft=draft, claim=claim))


def _find(connection: Connection, _now: Now, *, job_id: str) -> DraftRecord | None:
    return drafts.find(connection, job_id)
