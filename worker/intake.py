"""Taking jobs in: each becomes one row of the ledger, or goes straight to delivery.

Nothing is acknowledged before its row has committed. A single send, and a batch job that no limit
binds, is delivered in the same call: its row is written when it begins. Whatever else waits in
the ledger: a slot, a date, a hold, settings that are not there yet.
"""

from __future__ import annotations

import hashlib
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from config.errors import ConfigError
from producers.envelope import decode
from producers.errors import InvalidEnvelope
from worker.delivery import Delivery
from worker.ledger import deliveries, newcomers, operations
from worker.ledger.lanes import Lane
from worker.ledger.newcomers import SYSTEM, row_of
from worker.ledger.rows import UNREADABLE, NewJob, State
from worker.outcome import HoldTarget
from worker.pace import limits_of
from worker.tickets import DirectTicket

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from config.effective import EffectiveSettings
    from producers.job import Job
    from producers.topology import Topology
    from worker.capacity import Capacity
    from worker.delivery import Tools
    from worker.faults import Faults
    from worker.holding import Holding
    from worker.ledger.clock import Now
    from worker.pump import Pump
    from worker.shortcut import Shortcut


class Gate(NamedTuple):
    """What decides whether a job may go at once.

    Attributes:
        resolve: the settings in force for company, user and kind; raises ConfigError.
        holding: what is held now, as this process last read it.
        shortcut: which messages may stay until their mail is delivered.
        new_token: a name for one attempt that no other has.
        faults: told of a fault in looking at a job's settings.
    """

    resolve: Callable[[str | None, str | None, str], EffectiveSettings]
    holding: Holding
    capacity: Capacity
    shortcut: Shortcut
    new_token: Callable[[], str]
    faults: Faults


class Intake:
    """The actors ``send`` and ``batch``: from an envelope to a row or a delivery."""

    def __init__(self, tools: Tools, gate: Gate, pump: Pump, worker: str) -> None:
        self._tools = tools
        self._gate = gate
        self._pump = pump
        self._worker = worker

    async def take_in(self, envelope: bytes, queue_name: str, *, redelivered: bool = False) -> None:
        """Make sure that a message is answered for; afterwards it may be acknowledged.

        Raises:
            LedgerUnavailable: nothing was recorded; the message must come again.
        """
        try:
            job = decode(envelope, queue_name)
        except InvalidEnvelope as invalid:
            state = State.WAITING if invalid.hold else State.DEAD
            await self._tools.ledger.accept(self.unreadable(envelope, invalid.reason, state))
            return
        new = row_of(job, envelope, self._tools.ledger.now().wall)
        if redelivered and await self._tools.ledger.run(partial(_known, job_id=job.id)):
            return
        lane = Lane(new.company, new.user, new.kind)
        settings = self._free_to_go(job, lane)
        if settings is None:
            if await self._tools.ledger.accept(new):
                self._pump.nudge(lane)
            return
        try:
            ticket = DirectTicket(self._tools.ledger, self._worker, new, self._gate.new_token())
            await Delivery(self._tools, job, settings, ticket).run()
        finally:
            self._gate.capacity.leave(settings)
            self._gate.shortcut.leave(settings)
            self._pump.room()

    def _free_to_go(self, job: Job, lane: Lane) -> EffectiveSettings | None:
        """The settings of a job that waits for nothing, with its place in flight taken.

        After a fault in them the job waits: the pump meets it again and writes the reason on it.
        """
        try:
            return self._permitted(job, lane.company)
        except Exception as fault:  # noqa: BLE001 - whatever it is, the job can wait, and none is lost
            self._gate.faults.tell(lane, fault)
            return None

    def _permitted(self, job: Job, company: str) -> EffectiveSettings | None:
        """The same; raises whatever looking at the settings raises."""
        now = self._tools.ledger.now().wall
        if job.send_at is not None and job.send_at.timestamp() > now:
            return None
        try:
            settings = self._gate.resolve(job.company, job.user, job.kind)
        except ConfigError:
            return None
        if settings.held_reason is not None or limits_of(settings):
            return None
        if settings.transport == "microsoft-365":
            return None  # a draft is made before it begins: the ledger must know whose job it is
        batches = [] if job.batch_id is None else [HoldTarget.of_batch(company, job.batch_id)]
        if self._gate.holding.of(settings) or self._gate.holding.on(map(str, batches)):
            return None
        return settings if self._enter(settings) else None

    def _enter(self, settings: EffectiveSettings) -> bool:
        """Take a place in flight, and one among the messages that stay unacknowledged."""
        if not self._gate.shortcut.try_enter(settings):
            return False
        if self._gate.capacity.try_enter(settings):
            return True
        self._gate.shortcut.leave(settings)
        return False

    def unreadable(self, envelope: bytes, reason: str, state: State) -> NewJob:
        """The row of a message that is no job: its name is the digest of its bytes.

        The same bytes come to the same row, however often they are delivered.
        """
        digest = hashlib.sha256(envelope).hexdigest()
        return NewJob(
            job_id=f"raw-{digest[:32]}",
            company=SYSTEM,
            user="",
            kind=UNREADABLE,
            fingerprint=digest,
            body=envelope,
            enqueued_at=self._tools.ledger.now().wall,
            reason=reason,
            state=state,
        )

    async def bury(self, envelope: bytes, reason: str) -> None:
        """Keep a message among the dead letters, because no actor could deal with it.

        Raises:
            LedgerUnavailable: nothing was recorded; the message must come again.
        """
        await self._tools.ledger.accept(self.unreadable(envelope, reason, State.DEAD))

    async def read_again(self, topology: Topology) -> int:
        """Take in what an older worker held as unreadable; how many rows were read now."""
        ledger = self._tools.ledger
        read, last = 0, ""
        while page := await ledger.run(partial(_held_unreadable, after=last)):
            last = page[-1]
            for job_id in page:
                envelope = await ledger.run(partial(_envelope, job_id=job_id))
                if envelope is None:
                    continue
                try:
                    job = newcomers.read_envelope(envelope, topology)
                except InvalidEnvelope:
                    continue
                admit = partial(newcomers.readmit, job_id=job_id, envelope=envelope, job=job)
                await ledger.run(admit)
                read += 1
        return read


def _held_unreadable(connection: Connection, _now: Now, *, after: str) -> list[str]:
    return operations.held_unreadable(connection, after)


def _envelope(connection: Connection, _now: Now, *, job_id: str) -> bytes | None:
    return operations.raw_envelope(connection, job_id)


def _known(connection: Connection, _now: Now, *, job_id: str) -> bool:
    return deliveries.has_row(connection, job_id)
