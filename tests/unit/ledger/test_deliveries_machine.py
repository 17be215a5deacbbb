"""Jobs under any sequence of moves: copies, kills, late replies, resends, cancels, pauses."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from tests.support.ledger import ACCEPTED, LOST, Store, deferred, new_job
from worker.errors import BeginRefused
from worker.ledger import batches, deliveries, endings, housekeeping, operations, workers
from worker.ledger.rows import Claim, NewJob, Settlement, State, Terms
from worker.outcome import Outcome
from worker.pace import Limit

BATCH = ("acme", "november")
JOBS = st.sampled_from(["a", "b"])
WORKERS = st.sampled_from(["w1", "w2"])
LIMIT = Limit("company:acme", 4, even=False)
DEAD = Settlement(State.DEAD, Outcome.DEAD, reason="550 no", event=Outcome.DEAD)
RESEND_AFTER_SECONDS = 120.0


class Deliveries(RuleBasedStateMachine):
    """A few jobs in many copies, on two workers that die, freeze and come back.

    ``begun`` and ``allowed`` count each job's begins and what allowed them: its first, each
    deferral, the one resend, each command of a person.
    """

    claims: Bundle[tuple[Claim, str]] = Bundle("claims")

    @initialize()
    def open(self) -> None:
        """Start with an empty ledger and two workers."""
        self.store = Store()
        self.store.register("w1", "w2")
        self.alive = {"w1", "w2"}
        self.published: set[str] = set()
        self.in_data: dict[str, tuple[str, str]] = {}
        self.begun: Counter[str] = Counter()
        self.allowed: Counter[str] = Counter()
        self.unknown: Counter[str] = Counter()
        self.accepted: set[tuple[str, str]] = set()
        self.began: set[str] = set()
        self.lost: set[str] = set()
        self.dates: dict[str, float] = {}
        self.resent: set[str] = set()
        self.paused = False

    def teardown(self) -> None:
        """Let go of the memory."""
        self.store.close()

    @rule(seconds=st.sampled_from([1.0, 30.0, RESEND_AFTER_SECONDS]))
    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.store.clock.advance(seconds)

    @rule(job_id=JOBS)
    def accept_a_copy(self, job_id: str) -> None:
        """Any number of copies: the first is new, the others change nothing."""
        new = self.store.do(deliveries.accept, self._copy(job_id))
        assert new == (job_id not in self.published)
        self._publish(job_id)

    def _copy(self, job_id: str) -> NewJob:
        return new_job(job_id, idempotency_key=job_id, batch_id="november", batch_index=0)

    def _publish(self, job_id: str) -> None:
        if job_id not in self.published:
            self.published.add(job_id)
            self.allowed[job_id] += 1

    @rule(target=claims, job_id=JOBS, worker=WORKERS)
    def begin_a_copy_directly(self, job_id: str, worker: str) -> tuple[Claim, str]:
        """A copy that comes straight from a queue begins only where no row is."""
        claim = self._stand_in(job_id)
        try:
            self.store.do(
                deliveries.begin_direct,
                self._copy(job_id),
                token=claim.token,
                terms=Terms(worker, "smtp", self.store.clock.wall, "resend", RESEND_AFTER_SECONDS),
            )
        except BeginRefused:
            assert job_id in self.published or worker not in self.alive or self.paused
        else:
            assert not self.paused, "a job of a paused batch began"
            self._publish(job_id)
            self._note_begin(claim, worker)
        return claim, worker

    def _stand_in(self, job_id: str) -> Claim:
        """Make a claim that the ledger never handed out."""
        return Claim(
            job_id=job_id,
            company="acme",
            user="jane",
            kind="batch",
            body=b"",
            token=self.store.new_token(),
            not_before_steady=0.0,
            slots=0,
            attempts=0,
            first_attempt_at=None,
            backoff_seconds=0.0,
            date_at=None,
            enqueued_at=0.0,
            waiting_since_at=0.0,
        )

    @rule(target=claims, worker=WORKERS, limited=st.booleans())
    def take(self, worker: str, *, limited: bool) -> tuple[Claim, str]:
        """Take what waits, with or without a limit; a worker without a lease gets nothing."""
        return self._take(worker, limited=limited)

    def _take(self, worker: str, *, limited: bool) -> tuple[Claim, str]:
        taken = self.store.take(*([LIMIT] if limited else []), worker=worker)
        if isinstance(taken, Claim):
            assert worker in self.alive
            assert not self.paused, "a job of a paused batch was taken"
            return taken, worker
        return self._stand_in("none"), worker

    @rule(target=claims, worker=WORKERS, resend=st.booleans())
    def lose(self, worker: str, *, resend: bool) -> tuple[Claim, str]:
        """A worker takes, begins and dies at once; perhaps the job soon waits again."""
        if worker not in self.alive:
            self.die(worker)
        held = self._take(worker, limited=True)
        self.begin(held)
        self.die(worker)
        self.die(worker)
        if resend:
            self.wait(RESEND_AFTER_SECONDS)
            self.keep_house()
        return held

    @rule(held=claims)
    def begin(self, held: tuple[Claim, str]) -> None:
        """Begin with a claim of any age."""
        claim, worker = held
        before = self.store.dump()
        try:
            self.store.begin(claim, worker=worker, resend_after_seconds=RESEND_AFTER_SECONDS)
        except BeginRefused:
            assert self.store.dump() == before
        else:
            assert not self.paused, "a claim outlived the pause of its batch"
            self._note_begin(claim, worker)

    def _note_begin(self, claim: Claim, worker: str) -> None:
        job_id = claim.job_id
        assert worker in self.alive, "a reaped worker began"
        assert job_id not in self.in_data, "two copies are in DATA"
        self.in_data[job_id] = (claim.token, worker)
        self.begun[job_id] += 1
        self.began.add(claim.token)
        assert self.begun[job_id] <= self.allowed[job_id], "a begin that nothing allowed"
        date = self.store.row(job_id).date_at
        assert self.dates.setdefault(job_id, date) == date, "another Date in a later attempt"

    @rule(
        held=claims,
        settlement=st.sampled_from([ACCEPTED, LOST, DEAD, deferred(0.0)]),
    )
    def settle(self, held: tuple[Claim, str], settlement: Settlement) -> None:
        """The reply of an attempt comes: in time, twice, or long after the worker was reaped."""
        claim, worker = held
        job_id = claim.job_id
        if settlement.state in {State.WAITING, State.UNKNOWN}:
            due_at = self.store.clock.wall + RESEND_AFTER_SECONDS
            settlement = replace(settlement, due_at=due_at)
        mine = self.in_data.get(job_id) == (claim.token, worker)
        before = self.store.dump()
        begun = claim.token in self.began
        good = self.store.settle(claim, settlement, begun=begun)
        assert not begun or good == mine
        if mine:
            del self.in_data[job_id]
            self.allowed[job_id] += settlement.state is State.WAITING
            if settlement.state is State.UNKNOWN:
                self._lose(job_id, claim.token)
        elif begun and claim.token not in self.lost:
            assert self.store.dump() == before, "a spent token settled"
        if settlement is ACCEPTED and (mine or claim.token in self.lost):
            self.accepted.add((job_id, claim.token))
            self.lost.discard(claim.token)

    def _lose(self, job_id: str, token: str) -> None:
        self.unknown[job_id] += 1
        self.lost.add(token)

    @rule(held=consumes(claims))
    def release(self, held: tuple[Claim, str]) -> None:
        """Give back what never reached the server; later it changes nothing."""
        claim, _ = held
        before = self.store.dump()
        free = self.store.query(
            "SELECT 1 FROM delivery WHERE claim = :token AND state = 'claimed'", token=claim.token
        )
        due_at = self.store.clock.wall
        assert self.store.do(endings.release, claim, due_at=due_at, reason="") == bool(free)
        slots = {name: rows for name, rows in before if name == "delivery"}
        if not free:
            assert dict(self.store.dump())["delivery"] == slots["delivery"]

    @rule(worker=WORKERS)
    def die(self, worker: str) -> None:
        """A worker is found dead; its successor may come later."""
        if worker not in self.alive:
            self.store.register(worker + "'")
            self.store.change("UPDATE worker SET id = :w WHERE id = :x", w=worker, x=worker + "'")
            self.alive.add(worker)
            return
        self.alive.remove(worker)
        found = self.store.do(workers.bury, worker)
        mine = {job: token for job, (token, owner) in self.in_data.items() if owner == worker}
        assert set(found.unknown) == set(mine)
        for job_id, token in mine.items():
            del self.in_data[job_id]
            self._lose(job_id, token)

    @rule()
    def keep_house(self) -> None:
        """Unknown jobs are sent again, once."""
        for job_id in self.store.do(housekeeping.resend_unknown):
            assert job_id not in self.resent, "sent again twice"
            self.resent.add(job_id)
            self.allowed[job_id] += 1

    @rule(job_id=JOBS)
    def cancel(self, job_id: str) -> None:
        """Cancel a job in any state."""
        if job_id in self.published:
            state = self.store.state(job_id)
            cancelled = self.store.do(operations.cancel, job_id, "by hand")
            assert cancelled == (state in {"waiting", "paused", "claimed", "unknown", "dead"})

    @rule(park=st.booleans())
    def pause(self, *, park: bool) -> None:
        """A person pauses the batch, and claims are taken away; perhaps a worker does the rest."""
        self.store.do(batches.pause_batch, *BATCH, held_by="ann")
        self.paused = True
        if park or self.store.query("SELECT 1 FROM delivery WHERE state = 'claimed'"):
            self.store.do(batches.park_some, *BATCH)

    @rule(whole=st.booleans())
    def resume(self, *, whole: bool) -> None:
        """A person lets the batch go on; perhaps housekeeping puts its jobs back."""
        assert self.store.do(batches.end_pause, *BATCH) == self.paused
        self.paused = False
        if whole:
            self.store.do(batches.put_back_some, *BATCH)
        else:
            self.store.do(batches.tend)

    @rule(job_id=JOBS, state=st.sampled_from(["dead", "unknown"]))
    def revive(self, job_id: str, state: str) -> None:
        """A person sends a dead or unknown job again."""
        if self.store.do(operations.revive, job_id, state=state, reason="by hand"):
            self.allowed[job_id] += 1
            self.resent.discard(job_id)

    @invariant()
    def a_row_that_is_not_final_has_a_body(self) -> None:
        """And one that is final has none, nor an owner (invariant 8)."""
        for row in self.store.query("SELECT * FROM delivery"):
            final = row.state in {"sent", "drafted", "cancelled"}
            assert (row.body is None) == final
            assert (row.worker is not None) == (row.state in {"claimed", "data"})

    @invariant()
    def nothing_is_lost_and_nothing_is_owned_by_the_dead(self) -> None:
        """Published = the sum of the states (13); every owner has a lease (11)."""
        states = self.store.query("SELECT job_id, state, worker FROM delivery")
        assert {job_id for job_id, _, _ in states} == self.published
        assert {job for job, state, _ in states if state == "data"} == set(self.in_data)
        owners = {worker for _, _, worker in states if worker}
        owners |= {w for (w,) in self.store.query("SELECT worker FROM slot WHERE worker NOTNULL")}
        assert owners <= self.alive

    @invariant()
    def acceptances_beyond_the_first_follow_unknowns(self) -> None:
        """What was accepted is sent, and is sent again only where an outcome was unknown (10)."""
        accepted = Counter(job_id for job_id, _ in self.accepted)
        for job_id, times in accepted.items():
            assert times <= 1 + self.unknown[job_id]
            assert self.store.state(job_id) in {"sent", "cancelled"} or self.unknown[job_id]


DeliveriesTest = Deliveries.TestCase
DeliveriesTest.settings = settings(deadline=None, max_examples=120, stateful_step_count=30)
