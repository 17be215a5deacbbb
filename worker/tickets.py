"""A ticket is a job's way through one attempt, as the ledger sees it.

Two kinds: a job that came straight from a queue and has no row yet (its row is written when it
begins), and one that waited in the ledger (it holds a claim, and slots). Delivery tells them apart
nowhere else.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

from worker.errors import LedgerUnavailable
from worker.ledger import deliveries
from worker.ledger.rows import Settlement, State, Terms
from worker.ledger.slots import release_slots
from worker.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy import Connection

    from config.effective import EffectiveSettings
    from worker.ledger.clock import Now
    from worker.ledger.engine import Operation
    from worker.ledger.ledger import Ledger
    from worker.ledger.rows import Claim, NewJob
    from worker.outcome import RecipientReply
    from worker.pace import Budget

SETTLE_AGAIN_SECONDS = 1.0
T = TypeVar("T")


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
        perhaps_sent: whether the reply to an earlier attempt never came.
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
    perhaps_sent: bool
    probes: tuple[str, ...]
    token: str
    waiting_since_at: float

    async def begin(self, settings: EffectiveSettings, budget: Budget | None = None) -> None:
        """Commit that the mail leaves now, and count its recipients where that is asked for.

        Raises:
            BeginRefused: it must not leave.
            LedgerUnavailable: the same; if it was committed after all, that is undone.
        """

    async def settle(self, settlement: Settlement, *, mail_sent: bool = True) -> bool:
        """Record what came of the attempt; whether the ticket was still good.

        Only where MAIL was never sent are the slots free again at once.

        Raises:
            BeginRefused: the job has no row, and this worker was found dead.
            LedgerUnavailable: nothing was recorded.
        """

    async def put_back(
        self, *, due_at: float, reason: str, event: str | None = None, mail_sent: bool = False
    ) -> bool:
        """Let the job wait, uncounted, if no byte of its mail left; whether this has put it back.

        Its slots are free again at once, unless MAIL was sent: what reached the server used them.
        """


async def until_recorded(
    ticket: Ticket,
    record: Callable[[], Awaitable[T]],
    sleep: Callable[[float], Awaitable[None]],
) -> T:
    """Record something of a job as often as it takes: a claimed job is this worker's until then.

    Raises:
        LedgerUnavailable: the job has no row yet, so its message comes again.
    """
    while True:
        try:
            return await record()
        except LedgerUnavailable:
            if not ticket.has_row:
                raise
            await sleep(SETTLE_AGAIN_SECONDS)


def _terms(
    settings: EffectiveSettings, worker: str, date_at: float, budget: Budget | None
) -> Terms:
    return Terms(
        worker=worker,
        transport=settings.transport,
        date_at=date_at,
        on_unknown=settings.on_unknown,
        resend_after_seconds=settings.reply_timeout_seconds,
        budget=budget,
    )


async def _confirmed(ledger: Ledger, operation: Operation[T], token: str) -> T:
    """Do what puts a job into this worker's hands; not confirmed, it counts as refused, and is undone.

    Else the job would stay with a worker that lives and does not have it.
    """
    try:
        return await ledger.run(operation)
    except LedgerUnavailable:
        ledger.disown(token)
        raise


class DirectTicket:
    """The ticket of a job that waits for nothing and so has no row yet."""

    attempts = 0
    backoff_seconds = 0.0
    not_before_steady: float | None = None
    settled: tuple[RecipientReply, ...] = ()
    perhaps_sent = False
    probes: tuple[str, ...] = ()

    def __init__(self, ledger: Ledger, worker: str, job: NewJob, token: str) -> None:
        self._ledger = ledger
        self._worker = worker
        self._job = job
        self.token = token
        self.has_row = False
        self.begun = False
        self.date_at = ledger.now().wall
        self.waiting_since_at = self.date_at

    async def begin(self, settings: EffectiveSettings, budget: Budget | None = None) -> None:
        """Write the row as in DATA; the first copy of the job to do so wins."""
        begin = partial(
            deliveries.begin_direct,
            job=self._job,
            token=self.token,
            terms=_terms(settings, self._worker, self.date_at, budget),
        )
        await _confirmed(self._ledger, begin, self.token)
        self.has_row = self.begun = True

    async def settle(self, settlement: Settlement, *, mail_sent: bool = True) -> bool:
        """Record the outcome, in a row of its own where the mail never began."""
        del mail_sent  # it holds no slot
        if not self.has_row:
            self.has_row = await self._adopt()
            if not self.has_row:
                return False
        return await self._ledger.settle(
            self._job.job_id, self.token, 1, settlement, begun=self.begun
        )

    async def put_back(
        self, *, due_at: float, reason: str, event: str | None = None, mail_sent: bool = False
    ) -> bool:
        """Write the row as waiting."""
        del mail_sent  # it holds no slot
        return await self._ledger.run(
            partial(_accept_later, job=self._job, due_at=due_at, reason=reason, event=event)
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

        return await _confirmed(self._ledger, operation, self.token)


def _accept_later(
    connection: Connection,
    now: Now,
    *,
    job: NewJob,
    due_at: float,
    reason: str,
    event: str | None,
) -> bool:
    waiting = replace(job, due_at=due_at, reason=reason, event=event, state=State.WAITING)
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
        self.perhaps_sent = claim.perhaps_sent
        self.probes = claim.probes
        self.waiting_since_at = claim.waiting_since_at

    async def begin(self, settings: EffectiveSettings, budget: Budget | None = None) -> None:
        """Mark job and slots as in DATA."""
        begin = partial(
            deliveries.begin_claimed,
            claim=self._claim,
            terms=_terms(settings, self._worker, self.date_at, budget),
        )
        await _confirmed(self._ledger, begin, self.token)
        self.begun = True

    async def settle(self, settlement: Settlement, *, mail_sent: bool = True) -> bool:
        """Record the outcome and let the slots rest, if anything reached the server."""
        if not mail_sent:
            await self._ledger.run(lambda c, _: release_slots(c, self.token))
        return await self._ledger.settle(
            self._claim.job_id, self.token, self.attempts + 1, settlement, begun=self.begun
        )

    async def put_back(
        self, *, due_at: float, reason: str, event: str | None = None, mail_sent: bool = False
    ) -> bool:
        """Let the job wait again and free its slots, or let them rest."""
        if mail_sent:
            waits = Settlement(
                State.WAITING,
                Outcome.HELD,
                reason=reason,
                due_at=due_at,
                counted=False,
                event=event,
                recipients=self.settled,
            )
            return await self.settle(waits)
        return await self._ledger.release(self._claim, due_at=due_at, reason=reason, event=event)
