"""The world of one delivery in a test's hands: a ledger that can be away, a server with a script.

``Desk`` has everything in one place: time passes only where a delivery sleeps, and every outcome,
fault and sleep is written down.
"""

from __future__ import annotations

import asyncio
import shutil
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from config.effective import Provenance
from producers.envelope import encode
from tests.support.clock import FakeClock
from tests.support.jobs import make_job
from tests.support.settings import make_settings
from worker.delivery import Delivery, Tools
from worker.errors import LedgerUnavailable
from worker.ledger import lanes, workers
from worker.ledger.ledger import Ledger
from worker.ledger.newcomers import row_of
from worker.ledger.queries import find_job
from worker.ledger.rows import Claim
from worker.outcome import RecipientReply, RecipientState, Reply, Transmission
from worker.pace import limits_of
from worker.tickets import ClaimTicket, DirectTicket
from worker.transports.base import Mail

if TYPE_CHECKING:
    from pathlib import Path

    from config.effective import EffectiveSettings
    from producers.job import Job
    from worker.ledger.engine import Operation
    from worker.ledger.queries import JobRecord
    from worker.ledger.rows import NewJob
    from worker.outcome import Fact
    from worker.transports.base import Begin

T = TypeVar("T")
WORKER = "w1"
AWAY = "the disk is full"
OK = Reply(250, "queued", "2.0.0")
LATER = Reply(451, "try again later", "4.7.1")
NEVER = Reply(550, "no such user", "5.1.1")


def heard(address: str, reply: Reply) -> RecipientReply:
    """What a reply says of one recipient."""
    states = {
        2: RecipientState.ACCEPTED,
        4: RecipientState.DEFERRED,
        5: RecipientState.REFUSED,
    }
    return RecipientReply(address, states[reply.code // 100], reply)


def all_accepted(mail: Mail) -> Transmission:
    """The server took the mail for everybody."""
    return Transmission(tuple(heard(to, OK) for to in mail.recipients), OK)


class ShakyLedger(Ledger):
    """A real ledger that is away when a test says so.

    Attributes:
        away: one entry for each operation to come, true where it fails; then all succeed.
        lost: how many operations have failed.
        calls: how many operations threads have asked for (the pump's takes).
    """

    def __init__(self, url: str, clock: FakeClock) -> None:
        super().__init__(url, clock)
        self.away: deque[bool] = deque()
        self.lost = 0
        self.calls = 0

    def call(self, operation: Operation[T]) -> T:
        """Do it, or be away."""
        self.calls += 1
        self._answer()
        return super().call(operation)

    async def run(self, operation: Operation[T], *, can_wait: bool = False) -> T:
        """Do it, or be away."""
        self._answer()
        return await super().run(operation, can_wait=can_wait)

    def read(self, operation: Operation[T]) -> T:
        """Read, or be away; looking at one job by ``Desk.row`` always works."""
        self._answer()
        return super().read(operation)

    def _answer(self) -> None:
        if self.away and self.away.popleft():
            self.lost += 1
            raise LedgerUnavailable(AWAY)


class ScriptedServer:
    """A transport that does what it is told, once for each mail; then it accepts everything.

    Args:
        lead_seconds: how long it says that it needs before ``begin``.
    """

    def __init__(self, *, lead_seconds: float = 0.0) -> None:
        self.before: deque[BaseException | None] = deque()
        self.after: deque[BaseException | Transmission | None] = deque()
        self.unasked: deque[Transmission | None] = deque()
        self.mails: list[Mail] = []
        self.begun_at: list[float] = []
        self.called_at: list[float] = []
        self.waiting = asyncio.Event()
        self.hangs = ""
        self._lead_seconds = lead_seconds
        self.clock: FakeClock | None = None

    async def deliver(self, mail: Mail, settings: EffectiveSettings, begin: Begin) -> Transmission:
        """Do the next thing of each list: fail before ``begin``, answer without it, or after it."""
        assert self.clock is not None
        self.called_at.append(self.clock.steady)
        self.mails.append(mail)
        await self._hang("before")
        early = self.before.popleft() if self.before else None
        if early is not None:
            raise early
        unasked = self.unasked.popleft() if self.unasked else None
        if unasked is not None:
            return unasked
        await begin()
        self.begun_at.append(self.clock.steady)
        await self._hang("after")
        late = self.after.popleft() if self.after else None
        if isinstance(late, BaseException):
            raise late
        return late or all_accepted(mail)

    async def _hang(self, where: str) -> None:
        if self.hangs == where:
            self.waiting.set()
            await asyncio.Event().wait()

    def lead_seconds(self, settings: EffectiveSettings) -> float:
        """Return what the test said."""
        return self._lead_seconds

    async def close(self) -> None:
        """Nothing is open."""


@dataclass
class Desk:
    """A worker without threads of its own: ledger, server, clock, and what was told of them."""

    ledger: ShakyLedger
    clock: FakeClock
    server: ScriptedServer = field(default_factory=ScriptedServer)
    settings: EffectiveSettings = field(default_factory=make_settings)
    facts: list[Fact] = field(default_factory=list)
    faults: list[tuple[str, Exception]] = field(default_factory=list)
    sleeps: list[float] = field(default_factory=list)
    refuses: str | None = None
    random: float = 0.0
    tokens: int = 0

    def __post_init__(self) -> None:
        self.server.clock = self.clock
        self.ledger.call(
            lambda c, now: workers.register(c, now, WORKER, host="host", pid=1, version="1")
        )

    async def sleep(self, seconds: float) -> None:
        """Let time pass at once."""
        self.sleeps.append(seconds)
        self.clock.advance(seconds)
        await asyncio.sleep(0)

    def new_token(self) -> str:
        """A token that was never used."""
        self.tokens += 1
        return f"t{self.tokens}"

    def render(
        self, job: Job, settings: EffectiveSettings, date_at: float, settled: frozenset[str]
    ) -> Mail:
        """A mail to whoever is left."""
        left = tuple(address for address in job.recipients if address not in settled)
        return Mail(job.id, "jane@example.nz", left, f"Date: {date_at}\r\n".encode())

    @property
    def tools(self) -> Tools:
        """What a delivery needs."""
        return Tools(
            ledger=self.ledger,
            transports={"smtp": self.server},
            render=self.render,
            sender_refused=lambda *_: self.refuses,
            random=lambda: self.random,
            report=self.facts.append,
            on_fault=lambda job_id, fault: self.faults.append((job_id, fault)),
            sleep=self.sleep,
        )

    @property
    def outcomes(self) -> list[str]:
        """The outcomes that were reported."""
        return [fact.outcome.value for fact in self.facts]

    def new_job(self, job: Job) -> NewJob:
        """The row that a job gets."""
        return row_of(job, encode(job, f"postmeter.{job.kind}"), self.clock.wall)

    def accept(self, *jobs: Job) -> None:
        """Let jobs wait in the ledger."""
        for job in jobs:
            new = self.new_job(job)
            asyncio.run(self.ledger.accept(new))

    def direct(self, job: Job, **changes: Any) -> Delivery:
        """The delivery of a job that waits for nothing."""
        ticket = DirectTicket(self.ledger, WORKER, self.new_job(job), self.new_token())
        return Delivery(self.changed_tools(changes), job, self.settings, ticket)

    def claim(self, job: Job, *, probes: tuple[str, ...] = (), accept: bool = True) -> Claim:
        """Take a job out of its lane, which must be there to be taken."""
        if accept:
            self.accept(job)
        new = self.new_job(job)
        taken = self.ledger.call(
            partial(
                lanes.take,
                lane=lanes.Lane(new.company, new.user, new.kind),
                limits=limits_of(self.settings),
                worker=WORKER,
                token=self.new_token(),
                ahead_seconds=3.0,
                probes=probes,
            )
        )
        assert isinstance(taken, Claim)
        return taken

    def claimed(
        self, job: Job, *, probes: tuple[str, ...] = (), accept: bool = True, **changes: Any
    ) -> Delivery:
        """The delivery of a job that waited in the ledger."""
        claim = self.claim(job, probes=probes, accept=accept)
        ticket = ClaimTicket(self.ledger, WORKER, claim)
        return Delivery(self.changed_tools(changes), job, self.settings, ticket)

    def changed_tools(self, changes: dict[str, Any]) -> Tools:
        """The tools, some of them another's."""
        return self.tools._replace(**changes)

    def find(self, job_id: str) -> JobRecord | None:
        """The row of a job, if it has one."""
        return Ledger.read(self.ledger, lambda c, _: find_job(c, job_id))

    def row(self, job_id: str) -> JobRecord:
        """The row of a job, which must be there."""
        found = self.find(job_id)
        assert found is not None
        return found

    def query(self, statement: str) -> list[Any]:
        """Rows, by a statement right here in a test."""
        return Ledger.read(self.ledger, lambda c, _: list(c.exec_driver_sql(statement)))

    def free_slots(self, scope: str) -> int:
        """How many slots of a scope nobody has and that are usable now."""
        ((count,),) = self.query(
            f"SELECT count(*) FROM slot WHERE scope = '{scope}' AND worker IS NULL"  # noqa: S608 - the scopes are a test's own
            f" AND usable_steady <= {self.clock.steady}"
        )
        return int(count)

    def holds(self) -> list[str]:
        """The held targets."""
        return [target for (target,) in self.query("SELECT target FROM hold ORDER BY target")]

    def close(self) -> None:
        """Close the ledger."""
        self.ledger.close()


def open_desk(template: Path, folder: Path, settings: EffectiveSettings | None = None) -> Desk:
    """A desk over a copy of an empty ledger, whose tables are made once for many tests."""
    path = folder / "ledger.db"
    shutil.copy(template, path)
    clock = FakeClock()
    return Desk(
        ShakyLedger(f"sqlite:///{path}", clock), clock, settings=settings or make_settings()
    )


def limited_settings(**changes: Any) -> EffectiveSettings:
    """Settings with limits among the changes, which the user's file is said to have set."""
    keys = ("batch_emails_per_min", "all_batch_emails_per_min", "mailbox_emails_per_min")
    provenance = {key: Provenance("user", "jane.toml", key) for key in keys}
    return make_settings(provenance=provenance, **changes)


def jobs(count: int, **fields: Any) -> list[Job]:
    """Jobs that differ in their ids."""
    return [
        make_job(id=f"019f0000-0000-7000-8000-{number:012d}", **fields)
        for number in range(1, count + 1)
    ]
