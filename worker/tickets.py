"""A ticket is a job's way through one attempt, as the ledger sees it.

Two kinds: a job that came straight from a queue and has no row yet (its row is written when it
begins), and one that waited in the ledger (it holds a claim, and slots). Delivery tells them apart
nowhere else.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

from worker.ledger import deliveries
from worker.ledger.rows import State

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from worker.ledger.clock import Now
    from worker.ledger.ledger import Ledger
    from worker.ledger.rows import Claim, NewJob, Settlement
    from worker.outcome import RecipientReply


class Ticket(Protocol):
    """One attempt's right to begin, and its duty to say what came of it.

    Attributes:
        has_row: whether the job is in the ledger already.
        begun: whether ``begin`` has committed.
        attempts: how many attempts were made before this one.
        backoff_seconds: how long the job has been put off so far, counted against ``retry_for``.
        date_at: the mail's Date, in Unix seconds; the same in every attempt.
        not_before_steady: before when it must not begin; None for at once.
        settled: the recipients that earlier attempts have settled.
        probes: the held targets that this attempt tries out.
        waiting_since_at: since when the job could have gone, in Unix seconds.
    """

    has_row: bool
    begun: bool
    attempts: int
    backoff_seconds: float
    date_at: float
    not_before_steady: float | None
    settled: tuple[RecipientReply, ...]
    probes: tuple[str, ...]
    token: str
    waiting_since_at: float

    async def begin(self, *, transport: str, on_unknown: str, resend_after_seconds: float) -> None:
        """Commit that the mail leaves now.

        Raises:
            BeginRefused: it must not leave.
            LedgerUnavailable: the same.
        """

    async def settle(self, settlement: Settlement) -> bool:
        """Record what came of the attempt; whether the ticket was still good."""

    async def put_back(self, *, due_at: float, reason: str) -> bool:
        """Let the job wait, its slots unused; only if MAIL was never sent."""


class DirectTicket:
    """The ticket of a job that waits for nothing and so has no row yet."""

    has_row = False
    attempts = 0
    backoff_seconds = 0.0
    not_before_steady: float | None = None
    settled: tuple[RecipientReply, ...] = ()
    probes: tuple[str, ...] = ()

    def __init__(self, ledger: Ledger, worker: str, job: NewJob, token: str) -> None:
        self._ledger = ledger
        self._worker = worker
        self._job = job
        self.token = token
        self.begun = False
        self.date_at = ledger.now().wall
        self.waiting_since_at = self.date_at

    async def begin(self, *, transport: str, on_unknown: str, resend_after_seconds: float) -> None:
        """Write the row as in DATA; the first copy of the job to do so wins."""
        await self._ledger.run(
            partial(
                deliveries.begin_direct,
                job=self._job,
                worker=self._worker,
                token=self.token,
                transport=transport,
                date_at=self.date_at,
                on_unknown=on_unknown,
                resend_after_seconds=resend_after_seconds,
            )
        )
        self.begun = True

    async def settle(self, settlement: Settlement) -> bool:
        """Record the outcome, in a row of its own where the mail never began."""
        if not self.begun and not await self._adopt():
            return False
        return await self._ledger.settle(
            self._job.job_id, self.token, 1, settlement, begun=self.begun
        )

    async def put_back(self, *, due_at: float, reason: str) -> bool:
        """Write the row as waiting."""
        return await self._ledger.run(
            partial(_accept_later, job=self._job, due_at=due_at, reason=reason)
        )

    async def _adopt(self) -> bool:
        """Write the row as claimed; where another job has its key, the row says that instead."""

        def operation(connection: Connection, now: Now) -> bool:
            claimed = deliveries.claim_new(
                connection, now, self._job, worker=self._worker, token=self.token
            )
            if not claimed:
                deliveries.accept(connection, now, self._job)
            return claimed

        return await self._ledger.run(operation)


def _accept_later(
    connection: Connection, now: Now, *, job: NewJob, due_at: float, reason: str
) -> bool:
    waiting = replace(job, due_at=due_at, reason=reason, state=State.WAITING)
    return deliveries.accept(connection, now, waiting)


class ClaimTicket:
    """The ticket of a job that was taken from its lane, with a slot of each limit."""

    has_row = True

    def __init__(self, ledger: Ledger, worker: str, claim: Claim) -> None:
        self._ledger = ledger
        self._worker = worker
        self._claim = claim
        self.token = claim.token
        self.begun = False
        self.attempts = claim.attempts
        self.backoff_seconds = claim.backoff_seconds
        self.date_at = claim.date_at or ledger.now().wall
        self.not_before_steady: float | None = claim.not_before_steady if claim.slots else None
        self.settled = claim.settled
        self.probes = claim.probes
        self.waiting_since_at = claim.waiting_since_at

    async def begin(self, *, transport: str, on_unknown: str, resend_after_seconds: float) -> None:
        """Mark job and slots as in DATA."""
        await self._ledger.run(
            partial(
                deliveries.begin_claimed,
                claim=self._claim,
                worker=self._worker,
                transport=transport,
                date_at=self.date_at,
                on_unknown=on_unknown,
                resend_after_seconds=resend_after_seconds,
            )
        )
        self.begun = True

    async def settle(self, settlement: Settlement) -> bool:
        """Record the outcome and let the slots rest."""
        return await self._ledger.settle(
            self._claim.job_id, self.token, self.attempts + 1, settlement, begun=self.begun
        )

    async def put_back(self, *, due_at: float, reason: str) -> bool:
        """Let the job wait again and free its slots."""
        return await self._ledger.release(self._claim, due_at=due_at, reason=reason)
