"""A model of everything around the ledger, in virtual time: workers, a server, and bad luck.

The statements and the pump are the real ones. Around them an event heap moves a fake clock: worker
processes that take, wait, begin, send and settle as the real ones do, a server that accepts
when it likes, SIGKILL and SIGSTOP at any step, settings that change and are seen at different times.
The server's own list of what it accepted, and when, is what tests judge.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from tests.support.bad_luck import Fault, Step, quick
from tests.support.ledger import ACCEPTED, Store, deferred, new_job
from tests.support.simulated_pump import SimulatedPump, settings_under
from worker.errors import BeginRefused
from worker.ledger import deliveries, endings, housekeeping, workers
from worker.ledger.lanes import Lane
from worker.pace import limits_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from config.effective import EffectiveSettings
    from worker.ledger.rows import Claim
    from worker.pace import Limit
    from worker.work import Work

PREFACE_SECONDS = (0.05, 1.6)
"""From take to 354: a warm connection on a LAN, a cold one with TLS and AUTH over a WAN."""
RESEND_AFTER_SECONDS = 60.0
RESTART_SECONDS = 1.0
DEFER_SECONDS = 30.0


class Acceptance(NamedTuple):
    """One mail that the server took: when, which, and the limits under which it was taken."""

    at: float
    job_id: str
    limits: tuple[Limit, ...]


@dataclass(frozen=True)
class Plan:
    """What one simulation is made of.

    Attributes:
        limits: each scope's limit over time, as (from second, emails per minute).
        lanes: each lane's scopes.
        lag_seconds: how much later each further worker sees a change of the limits.
        reply_seconds: the server's reply time, drawn for each mail.
        deferred_share: how many mails the server puts off with a 451.
        weights: the companies' weights, where they have more than 1.
        kills: when some process is killed, wherever it is.
        buried_at_restart: whether a killed worker's successor frees what it held.
        even: whether the soft gap is on.
    """

    limits: Mapping[str, Sequence[tuple[float, int]]]
    lanes: Mapping[Lane, Sequence[str]]
    workers: int = 1
    weights: Mapping[str, int] = field(default_factory=dict)
    lag_seconds: float = 0.0
    reply_seconds: Callable[[random.Random], float] = quick
    deferred_share: float = 0.0
    faults: Sequence[Fault] = ()
    kills: Sequence[float] = ()
    buried_at_restart: bool = False
    even: bool = True
    seed: int = 1


def one_lane(limit: int, **more: object) -> Plan:
    """Plan one company with one lane under one limit."""
    lane = Lane("acme", "jane", "batch")
    plan: dict[str, object] = {
        "limits": {"company:acme": [(0.0, limit)]},
        "lanes": {lane: ["company:acme"]},
    }
    return Plan(**{**plan, **more})  # type: ignore[arg-type]  # the caller's names are checked when it runs


@dataclass(eq=False)
class Process:
    """One worker process: alive, or stopped until later, or gone."""

    name: str
    index: int
    alive: bool = True
    stopped_until: float = 0.0
    taking: bool = True
    pump: SimulatedPump = field(init=False)
    in_hand: set[str] = field(default_factory=set)


class Simulation:
    """Run a plan; ``accepted`` is what the server saw, ``struck`` which faults have struck.

    ``left`` is when each mail's first byte left, in its last attempt.
    ``taken`` are the lanes of the jobs that the pumps handed out, in order.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.store = Store()
        self.started = self.store.clock.steady
        self.accepted: list[Acceptance] = []
        self.left: dict[str, float] = {}
        self.taken: list[Lane] = []
        self.published = 0
        self.struck: Counter[tuple[Step, str]] = Counter()
        self.unknowns: Counter[str] = Counter()
        self.in_data: dict[str, str] = {}
        self.reaped: set[str] = set()
        self._chance = random.Random(plan.seed)
        self._armed = sorted(plan.faults, reverse=True)
        self._heap: list[tuple[float, float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._names = itertools.count(1)
        self.processes: list[Process] = []
        for index in range(plan.workers):
            self._start(index)
        for at in plan.kills:
            self._later(at, lambda: self._end(self._chance.choice(self.processes)))

    @property
    def now(self) -> float:
        """Seconds since the simulation's start."""
        return self.store.clock.steady - self.started

    def publish(self, lane: Lane, count: int) -> None:
        """Write waiting jobs of one lane."""
        for _ in range(count):
            self.published += 1
            job = new_job(
                f"job-{self.published}",
                company=lane.company,
                user=lane.user,
                kind=lane.kind,
                batch_index=self.published,
            )
            assert self.store.do(deliveries.accept, job)

    def publish_many(self, lane: Lane, count: int) -> None:
        """Write a line so deep that one statement must do it: copies of one job."""
        self.publish(lane, 1)
        first = self.published
        self.published += count - 1
        names = self.store.query("SELECT * FROM delivery WHERE job_id = :job", job=f"job-{first}")
        columns = [name for name in names[0]._fields if name not in {"job_id", "seq"}]
        self.store.change(
            "WITH RECURSIVE n(i) AS (SELECT :first + 1 UNION ALL SELECT i + 1 FROM n WHERE i < :last)"  # noqa: S608 - the columns are the table's own
            f" INSERT INTO delivery (job_id, seq, {', '.join(columns)})"
            f" SELECT 'job-' || i, seq + i - :first, {', '.join(columns)} FROM delivery, n"
            " WHERE job_id = :job",
            first=first,
            last=self.published,
            job=f"job-{first}",
        )

    def run_until(self, until: float) -> None:
        """Let everything happen up to that second, checking the ledger's books on the way."""
        while self._heap and self._heap[0][0] <= self.started + until:
            at, _, _, happen = heapq.heappop(self._heap)
            self.store.clock.advance_to(at)
            happen()

    def _at(self, steady: float, happen: Callable[[], None]) -> None:
        # What is due at the same instant happens in any order.
        heapq.heappush(self._heap, (steady, self._chance.random(), next(self._order), happen))

    def _later(self, seconds: float, happen: Callable[[], None]) -> None:
        self._at(self.store.clock.steady + seconds, happen)

    def _start(self, index: int) -> None:
        process = Process(f"w{next(self._names)}", index)
        self.processes.append(process)
        self.store.register(process.name)
        process.pump = SimulatedPump(
            self.store, process.name, lambda lane: self._settings(lane, process)
        )
        for scope in self.plan.limits:
            for since, _ in self.plan.limits[scope]:
                seen_in = since + index * self.plan.lag_seconds - self.now
                self._later(max(seen_in, 0.0), process.pump.settings_changed)
        for story in (self._pump, self._beat, self._keep_house):
            self._go_on(process, story(process))

    def _go_on(self, process: Process, story: Iterator[float]) -> None:
        if not process.alive:
            return
        if process.stopped_until > self.store.clock.steady:
            self._at(process.stopped_until, lambda: self._go_on(process, story))
            return
        pause = next(story, None)
        if pause is not None:
            self._later(pause, lambda: self._go_on(process, story))

    def _end(self, process: Process) -> None:
        process.alive = False
        self.processes.remove(process)
        self._later(RESTART_SECONDS, lambda: self._replace(process))

    def _replace(self, process: Process) -> None:
        """Start a new process; a supervisor that saw the old one end can bury it at once."""
        if self.plan.buried_at_restart and process.name not in self.reaped:
            self._note_dead(self.store.do(workers.bury, process.name))
        self._start(process.index)

    def _note_dead(self, reaping: workers.Reaping) -> None:
        self.reaped.update(reaping.workers)
        self.unknowns.update(reaping.unknown)
        for job_id in reaping.unknown:
            del self.in_data[job_id]

    def _reach(self, process: Process, step: Step) -> Iterator[float]:
        """Be struck here if a fault waits for this step."""
        if not self._armed or self._armed[-1].at > self.now or self._armed[-1].step is not step:
            return
        fault = self._armed.pop()
        if fault.stop_seconds is None:
            self.struck[step, "killed"] += 1
            self._end(process)
        else:
            self.struck[step, "stopped"] += 1
            process.stopped_until = self.store.clock.steady + fault.stop_seconds
        yield 0.0

    def _settings(self, lane: Lane, process: Process) -> EffectiveSettings:
        """The settings of a lane, as this process sees them now."""
        seen_at = self.now - process.index * self.plan.lag_seconds
        limits = {}
        for scope in self.plan.lanes[lane]:
            numbers = [n for since, n in self.plan.limits[scope] if since <= max(seen_at, 0.0)]
            limits[scope] = numbers[-1]
        weight = self.plan.weights.get(lane.company, 1)
        return settings_under(
            lane, limits, pace="even" if self.plan.even else "burst", company_weight=weight
        )

    def _pump(self, process: Process) -> Iterator[float]:
        while process.taking:
            yield from self._reach(process, Step.BEFORE_TAKE)
            before = process.pump.in_hand()
            work, pause = process.pump.look()
            if work is not None:
                claim = work.claim
                # What it had in hand when it was found dead it may still hand out; begin refuses it.
                if process.name in self.reaped:
                    assert claim.token in before, "a reaped worker took a job"
                self.taken.append(Lane(claim.company, claim.user, claim.kind))
                self._go_on(process, self._deliver(process, work))
            yield pause

    def _deliver(self, process: Process, work: Work) -> Iterator[float]:
        claim, limits = work.claim, tuple(limits_of(work.settings))
        process.in_hand.add(claim.token)
        yield from self._reach(process, Step.TAKEN)
        yield self._chance.uniform(*PREFACE_SECONDS)
        while (early := claim.not_before_steady - self.store.clock.steady) > 0:
            yield early
        yield from self._reach(process, Step.BEFORE_BEGIN)
        try:
            self.store.begin(claim, worker=process.name, resend_after_seconds=RESEND_AFTER_SECONDS)
        except BeginRefused:
            due_at = self.store.clock.wall
            self.store.do(endings.release, claim, due_at=due_at, reason="refused")
        else:
            assert process.name not in self.reaped, "a reaped worker began a job"
            assert claim.job_id not in self.in_data, "two attempts of one job are in DATA"
            self.in_data[claim.job_id] = claim.token
            self.left[claim.job_id] = self.now
            yield from self._reach(process, Step.BEGUN)
            yield from self._transmit(process, claim, limits)
        process.in_hand.discard(claim.token)
        process.pump.done(work)

    def _transmit(
        self, process: Process, claim: Claim, limits: tuple[Limit, ...]
    ) -> Iterator[float]:
        """Send the mail: what the server does with it no longer depends on the process."""
        reply_seconds = self.plan.reply_seconds(self._chance)
        settlement = ACCEPTED
        if self._chance.random() < self.plan.deferred_share:
            settlement = deferred(self.store.clock.wall + reply_seconds + DEFER_SECONDS)
        else:
            counted = reply_seconds * self._chance.choice((0.0, self._chance.random(), 1.0))
            self._later(counted, lambda: self._accept(claim.job_id, limits))
        yield reply_seconds
        yield from self._reach(process, Step.REPLIED)
        if self.store.settle(claim, settlement):
            del self.in_data[claim.job_id]
        yield from self._reach(process, Step.SETTLED)

    def _accept(self, job_id: str, limits: tuple[Limit, ...]) -> None:
        self.accepted.append(Acceptance(self.now, job_id, limits))

    def _beat(self, process: Process) -> Iterator[float]:
        while True:
            yield workers.BEAT_SECONDS
            try:
                self.store.do(workers.beat, process.name)
            except workers.Reaped:
                process.taking = False  # what is in DATA may still end; a new process takes over
                self._later(RESTART_SECONDS, lambda: self._start(process.index))
                return

    def _keep_house(self, process: Process) -> Iterator[float]:
        while process.taking:
            yield workers.REAP_SECONDS
            kept = self.store.do(housekeeping.keep)
            self._note_dead(kept.reaped)
            self.check_books()

    def check_books(self) -> None:
        """Check what must hold at every moment: no job lost, no slot or claim that nobody frees."""
        ((jobs, bodies),) = self.store.query(
            "SELECT count(*), sum(CASE WHEN state = 'sent' OR body IS NOT NULL THEN 1 ELSE 0 END) FROM delivery"
        )
        assert jobs == bodies == self.published
        leased = set(self.store.query("SELECT id FROM worker"))
        owned = self.store.query(
            "SELECT worker, token FROM slot WHERE token IS NOT NULL"
            " UNION SELECT worker, claim FROM delivery WHERE worker IS NOT NULL"
        )
        in_hand = {p.name: p.in_hand | p.pump.in_hand() for p in self.processes}
        for name, token in owned:
            assert (name,) in leased, f"{name} has no lease, so nobody will free what it holds"
            assert name not in in_hand or token in in_hand[name], f"{name} forgot {token}"
