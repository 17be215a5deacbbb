"""The actors: thin, from a message to intake or delivery; returning means acknowledge."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from producers.errors import InvalidEnvelope
from worker.broker.waiting import DELIVER_ACTOR, LEDGER_QUEUE
from worker.delivery import Delivery
from worker.ledger import endings
from worker.settlements import dead
from worker.tickets import ClaimTicket, until_recorded
from worker.work import Work

if TYPE_CHECKING:
    from collections.abc import Callable

    from producers.job import Job
    from producers.topology import Topology
    from worker.broker.broker import PostmeterBroker
    from worker.broker.message import Taken
    from worker.delivery import Tools
    from worker.intake import Intake

DEAD_ACTOR = "dead_letter"
FOR_A_NEWER_WORKER_SECONDS = 30.0
"""How long a job rests that only a newer worker can read, while workers are being replaced."""


class Actors:
    """What a worker does with each kind of message."""

    def __init__(
        self,
        tools: Tools,
        intake: Intake,
        topology: Topology,
        worker: str,
        read_job: Callable[[bytes, str], Job],
    ) -> None:
        self._tools = tools
        self._intake = intake
        self._topology = topology
        self._worker = worker
        self._read_job = read_job

    def register(self, broker: PostmeterBroker) -> None:
        """Declare every actor on its queue."""
        queues = self._topology
        broker.register(self.send, actor_name="send", queue_name=queues.send)
        broker.register(self.batch, actor_name="batch", queue_name=queues.batch)
        broker.register(self.dead_letter, actor_name=DEAD_ACTOR, queue_name=queues.dead)
        broker.register(self.deliver, actor_name=DELIVER_ACTOR, queue_name=LEDGER_QUEUE)

    async def send(self, envelope: bytes, *, redelivered: bool = False) -> None:
        """Take in a single send, or a composition."""
        await self._intake.take_in(envelope, self._topology.send, redelivered=redelivered)

    async def batch(self, envelope: bytes, *, redelivered: bool = False) -> None:
        """Take in one row of a batch."""
        await self._intake.take_in(envelope, self._topology.batch, redelivered=redelivered)

    async def dead_letter(self, envelope: bytes, *, redelivered: bool = False) -> None:
        """Move what could not even be recorded from RabbitMQ into the ledger's dead letters."""
        del redelivered  # the row is named by the bytes: a second copy changes nothing
        await self._intake.bury(envelope, "RabbitMQ gave up on this message after many returns")

    async def deliver(self, work: Work) -> None:
        """Deliver a job that waited in the ledger and is this worker's now."""
        queue = self._topology.batch if work.claim.kind == "batch" else self._topology.send
        ticket = ClaimTicket(self._tools.ledger, self._worker, work.claim)
        try:
            job = self._read_job(work.claim.body, queue)
        except InvalidEnvelope as invalid:
            await self._leave_unread(ticket, invalid)
            return
        await Delivery(self._tools, job, work.settings, ticket).run()

    async def _leave_unread(self, ticket: ClaimTicket, invalid: InvalidEnvelope) -> None:
        """A waiting job that this version cannot read: for a newer worker, or dead."""
        if invalid.hold:
            later = self._tools.ledger.now().wall + FOR_A_NEWER_WORKER_SECONDS
            record = partial(ticket.put_back, due_at=later, reason=invalid.reason)
        else:
            record = partial(ticket.settle, dead(invalid.reason), mail_sent=False)
        await until_recorded(ticket, record, self._tools.sleep)

    async def on_failure(self, message: Taken, error: Exception) -> None:
        """Keep a message that met a fault among the dead letters; a claimed job is let go of.

        Raises:
            LedgerUnavailable: nothing was recorded; the message must come again.
        """
        envelope = message.kwargs.get("envelope")
        reason = f"a fault in Postmeter: {type(error).__name__}"
        if isinstance(envelope, bytes):
            await self._intake.bury(envelope, reason)
        elif isinstance(work := message.kwargs.get("work"), Work):
            await self._tools.ledger.run(lambda c, now: endings.abandon(c, now, work.claim, reason))
