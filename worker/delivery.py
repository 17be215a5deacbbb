"""The story of one job, from the moment it may go to the moment its outcome is recorded.

Read it top to bottom. It imports no library: what it needs of the world (ledger, transports,
clock, randomness) is passed in.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from worker.errors import (
    AttemptError,
    BeginRefused,
    Deferred,
    Held,
    LedgerUnavailable,
    Rejected,
    Unknown,
)
from worker.ledger.rows import Settlement, State
from worker.outcome import Fact, Outcome, RecipientState, Reply
from worker.recipients import room_for
from worker.retry import next_delay_seconds, pause_of
from worker.settlements import deferred_until, drafted, ended, given_up, is_open, merged, not_taken
from worker.tickets import until_recorded

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from config.effective import EffectiveSettings
    from producers.job import Job
    from worker.ledger.ledger import Ledger
    from worker.outcome import RecipientReply, Transmission
    from worker.pace import Budget
    from worker.tickets import Ticket
    from worker.transports.base import Mail, Transport

T = TypeVar("T")


class Tools(NamedTuple):
    """What a delivery needs of the world.

    Attributes:
        transports: by name.
        render: makes the mail's bytes from job, settings and date (Unix seconds), for the
            recipients that are left; raises Rejected where it can't be rendered.
        sender_refused: why this sender may not send, or None.
        random: a number in [0, 1) for the back-off.
        report: what is told of every outcome.
        on_fault: what is told of a fault in Postmeter, with the job's id.
    """

    ledger: Ledger
    transports: Mapping[str, Transport]
    render: Callable[[Job, EffectiveSettings, float, frozenset[str]], Mail]
    sender_refused: Callable[[Job, EffectiveSettings], str | None]
    random: Callable[[], float]
    report: Callable[[Fact], None]
    on_fault: Callable[[str, Exception], None]
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


@dataclass(slots=True)
class Delivery:
    """One attempt of one job under the settings in force.

    Attributes:
        mail_sent: whether the server waits for the mail itself, so that its slot is used.
        budget: what the mail takes of its mailbox's recipients, where they are counted.
    """

    tools: Tools
    job: Job
    settings: EffectiveSettings
    ticket: Ticket
    started_steady: float = 0.0
    begun_steady: float = 0.0
    begun_wall: float | None = None
    mail_sent: bool = False
    budget: Budget | None = None

    async def run(self) -> None:
        """Deliver the job, or record why not; afterwards its row says what became of it.

        Raises:
            LedgerUnavailable: before anything left; a job without a row must come again.
        """
        try:
            await self._attempt()
        except LedgerUnavailable:
            if not self.ticket.has_row:
                raise
            await self._give_up_ticket("the ledger was away")
        except Exception as fault:  # noqa: BLE001 - a fault of ours must not lose or repeat the mail
            self.tools.on_fault(self.job.id, fault)
            await self._blame(fault)

    async def _attempt(self) -> None:
        """Try once, and record what the transport says of it."""
        refusal = self._refusal()
        if refusal is not None:
            await self._fail(Rejected(refusal))
            return
        try:
            settled = frozenset(r.address for r in self.ticket.settled if not is_open(r))
            mail = self.tools.render(self.job, self.settings, self.ticket.date_at, settled)
            mail = replace(mail, attempts=self.ticket.attempts, claim=self.ticket.token)
            self.budget = await room_for(self.tools.ledger, self.settings, len(mail.recipients))
            await self._wait_for_its_time()
            self.started_steady = self.tools.ledger.now().steady
            transport = self.tools.transports[self.settings.transport]
            transmission = await transport.deliver(mail, self.settings, self._begin)
        except AttemptError as failed:
            await self._fail(failed)
        except BeginRefused as refused:
            await self._give_up_ticket(str(refused))
        except asyncio.CancelledError:
            await asyncio.shield(self._cut_short())
            raise
        else:
            await self._conclude(transmission)

    def _refusal(self) -> str | None:
        """Why this job must not be sent at all, or None."""
        now = self.tools.ledger.now().wall
        if self.job.expires_at is not None and self.job.expires_at.timestamp() <= now:
            return "expired: expires_at passed before it could be sent"
        return self.tools.sender_refused(self.job, self.settings)

    async def _wait_for_its_time(self) -> None:
        """Wait until the server is likely to be ready for the mail just when its slot is."""
        not_before = self.ticket.not_before_steady
        if not_before is None:
            return
        transport = self.tools.transports[self.settings.transport]
        lead = transport.lead_seconds(self.settings)
        early = not_before - lead - self.tools.ledger.now().steady
        if early > 0:
            await self.tools.sleep(early)

    async def _begin(self) -> None:
        """Commit in the ledger that the mail leaves now; only then may its first byte leave."""
        self.mail_sent = True
        not_before = self.ticket.not_before_steady
        if not_before is not None:
            while (early := not_before - self.tools.ledger.now().steady) > 0:
                await self.tools.sleep(early)
        await self.ticket.begin(self.settings, self.budget)
        self.begun_wall, self.begun_steady = self.tools.ledger.now()

    async def _fail(self, failed: AttemptError) -> None:
        """The attempt came to nothing; its kind says what is next."""
        match failed:
            case Held():
                await self._hold(failed)
            case Deferred():
                heard = not_taken(failed.recipients, RecipientState.DEFERRED, failed.reply)
                await self._defer(failed, heard)
            case Unknown():
                await self._lose(failed.reason)
            case _:
                heard = not_taken(failed.recipients, RecipientState.REFUSED, failed.reply)
                recipients = merged(self.ticket.settled, heard)
                perhaps = self.ticket.perhaps_sent and failed.reply is None
                end = given_up(failed.reason, failed.reply, recipients, perhaps_sent=perhaps)
                await self._settle(end, mail_sent=failed.mail_sent)

    async def _conclude(self, transmission: Transmission) -> None:
        """The server has answered every step: each recipient is accepted, refused or deferred."""
        if transmission.draft is not None:
            made = drafted(transmission.draft, transmission.reply, self.settings.transport)
            await self._settle(made, mail_sent=False)
            return
        recipients = merged(self.ticket.settled, transmission.recipients)
        deferred = [r for r in recipients if r.state is RecipientState.DEFERRED]
        if deferred:
            words = transmission.reply or deferred[0].reply
            await self._defer(
                Deferred(
                    f"{len(deferred)} of {len(recipients)} recipients deferred: "
                    f"{deferred[0].reply}",
                    reply=words,
                ),
                recipients,
                accepted=transmission.reply is not None,
            )
            return
        await self._settle(
            ended(recipients, transmission.reply), mail_sent=not transmission.earlier
        )

    async def _defer(
        self, deferred: Deferred, heard: tuple[RecipientReply, ...], *, accepted: bool = False
    ) -> None:
        """This mail later, unless its time is over."""
        recipients = merged(self.ticket.settled, heard)
        delay = next_delay_seconds(
            self.ticket.attempts + 1,
            spent_seconds=self.ticket.backoff_seconds,
            retry_for_seconds=self.settings.retry_for_seconds,
            random=self.tools.random(),
            retry_after_seconds=deferred.retry_after_seconds,
        )
        if delay is None:
            over = f"out of time after {self.ticket.attempts + 1} attempts: {deferred.reason}"
            perhaps = self.ticket.perhaps_sent
            settled = given_up(over, deferred.reply, recipients, perhaps_sent=perhaps)
            await self._settle(replace(settled, accepted=accepted), mail_sent=deferred.mail_sent)
            return
        later = self.tools.ledger.now().wall + delay
        settled = deferred_until(later, delay, deferred.reason, deferred.reply, recipients)
        await self._settle(replace(settled, accepted=accepted), mail_sent=deferred.mail_sent)

    async def _hold(self, held: Held) -> None:
        """Not this mail's fault: hold the target, and let the mail wait uncounted."""
        target = str(held.target)
        token = self.ticket.token if target in self.ticket.probes else ""
        reason, probe_after_seconds = pause_of(held, probing=bool(token))
        await self._recorded(
            partial(
                self.tools.ledger.hold,
                target,
                reason,
                token=token,
                probe_after_seconds=probe_after_seconds,
            )
        )
        now = self.tools.ledger.now().wall
        if held.mail_sent or self.ticket.begun:
            await self._settle(
                Settlement(
                    State.WAITING,
                    Outcome.HELD,
                    reason=reason,
                    due_at=now,
                    counted=False,
                    reply=str(held.reply or ""),
                    event=Outcome.HELD,
                    recipients=self.ticket.settled,
                )
            )
            return
        if await self._recorded(partial(self._put_back, reason, event=Outcome.HELD)):
            self._report(Outcome.HELD, reason, held.reply)

    async def _lose(self, reason: str) -> None:
        """DATA was begun and no reply came: say so, and let the settings decide what next."""
        later = self.tools.ledger.now().wall + self.settings.reply_timeout_seconds
        await self._settle(
            Settlement(
                State.UNKNOWN,
                Outcome.UNKNOWN,
                reason=reason,
                due_at=later,
                event=Outcome.UNKNOWN,
                recipients=self.ticket.settled,
            )
        )

    async def _cut_short(self) -> None:
        """The process ends: what was in DATA is unknown, everything else waits."""
        if self.ticket.begun:
            await self._lose("the worker was stopped before the server replied")
            return
        with suppress(LedgerUnavailable):  # then the goodbye or the reaper puts it back
            await self._put_back("the worker was stopped")

    async def _blame(self, fault: Exception) -> None:
        """A fault in Postmeter itself: later, with back-off; after begin nobody knows."""
        reason = f"a fault in Postmeter: {type(fault).__name__}"
        if self.ticket.begun:
            await self._lose(reason)
        else:
            await self._defer(Deferred(reason, mail_sent=False), ())

    async def _give_up_ticket(self, reason: str) -> None:
        """Nothing left, so the job waits on; a ticket that is spent changes nothing."""
        if self.ticket.begun:
            await self._lose(reason)
        else:
            await self._recorded(partial(self._put_back, reason))

    async def _put_back(self, reason: str, event: str | None = None) -> bool:
        now = self.tools.ledger.now().wall
        return await self.ticket.put_back(
            due_at=now, reason=reason, event=event, mail_sent=self.mail_sent
        )

    async def _recorded(self, record: Callable[[], Awaitable[T]]) -> T:
        return await until_recorded(self.ticket, record, self.tools.sleep)

    async def _settle(self, settlement: Settlement, *, mail_sent: bool = True) -> None:
        """Record the outcome, as often as it takes: a reply must not be forgotten."""
        settle = partial(self.ticket.settle, settlement, mail_sent=mail_sent)
        try:
            recorded = await self._recorded(settle)
        except BeginRefused as refused:  # this worker was reaped: another one shall try
            await self._give_up_ticket(str(refused))
            return
        if not recorded and not self.ticket.begun:
            return  # the row is another copy's, and so is the outcome
        self._report(
            Outcome(settlement.outcome), settlement.reason, settlement.reply, settlement.recipients
        )

    def _report(
        self,
        outcome: Outcome,
        reason: str,
        reply: Reply | str | None,
        recipients: tuple[RecipientReply, ...] = (),
    ) -> None:
        """Tell of an outcome; the row says it already, so a fault here changes nothing."""
        try:
            self.tools.report(self._fact(outcome, reason, str(reply or ""), recipients))
        except Exception as fault:  # noqa: BLE001 - what failed is a log line or a metric
            self.tools.on_fault(self.job.id, fault)

    def _fact(
        self, outcome: Outcome, reason: str, reply: str, recipients: tuple[RecipientReply, ...]
    ) -> Fact:
        steady = self.tools.ledger.now().steady
        started, begun, at = self.started_steady, self.begun_steady, self.begun_wall
        enqueued_at = self.job.enqueued_at.timestamp()
        return Fact(
            outcome=outcome,
            job_id=self.job.id,
            kind=self.job.kind,
            company=self.settings.context,
            user=self.settings.user,
            transport=self.settings.transport,
            reason=reason,
            reply=reply,
            attempts=self.ticket.attempts + int(self.ticket.begun),
            batch_id=self.job.batch_id,
            message_id=self.job.message_id,
            traceparent=self.job.traceparent,
            recipients=recipients,
            queue_wait_seconds=None
            if at is None or self.ticket.attempts
            else max(0.0, at - enqueued_at),
            slot_wait_seconds=None if at is None else max(0.0, at - self.ticket.waiting_since_at),
            delivery_seconds=steady - started if started else None,
            data_seconds=steady - begun if begun else None,
        )
