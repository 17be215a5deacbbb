"""A ledger for tests: one connection, no thread, and time that stands still.

Every call is one transaction, as in the worker, on the database that this run tests
(``tests.support.databases``).
"""

from __future__ import annotations

import itertools
import weakref
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import text

from tests.support.clock import FakeClock
from tests.support.databases import empty_ledger
from worker.ledger import deliveries, endings, lanes, workers
from worker.ledger.boot import note_run
from worker.ledger.engine import transact
from worker.ledger.lanes import Lane
from worker.ledger.rows import Claim, NewJob, Nothing, Settlement, State, Terms
from worker.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from worker.ledger.clock import Now
    from worker.pace import Limit

P = ParamSpec("P")
T = TypeVar("T")

LANE = Lane("acme", "jane", "batch")
ENVELOPE = b'{"job": "as it was published"}'
ACCEPTED = Settlement(
    State.SENT, Outcome.SENT, reply="250 2.0.0 queued", event=Outcome.SENT, accepted=True
)
"""The server took the mail."""
LOST = Settlement(State.UNKNOWN, Outcome.UNKNOWN, reason="no reply", event=Outcome.UNKNOWN)
"""The connection broke inside DATA."""


def deferred(due_at: float, *, counted: bool = True) -> Settlement:
    """The server wants the mail later (Unix seconds)."""
    return Settlement(
        State.WAITING, Outcome.DEFERRED, reason="451 later", due_at=due_at, counted=counted
    )


def new_job(job_id: str, **changes: Any) -> NewJob:
    """Make a batch job of acme's jane, enqueued long ago and due at once."""
    values: dict[str, Any] = {
        "job_id": job_id,
        "company": LANE.company,
        "user": LANE.user,
        "kind": LANE.kind,
        "fingerprint": "f" * 64,
        "body": ENVELOPE,
        "enqueued_at": 1_700_000_000.0,
    }
    return NewJob(**{**values, **changes})


class Store:
    """One ledger of its own, with shortcuts that read like a test's sentences."""

    def __init__(self, clock: FakeClock | None = None) -> None:
        self.clock = clock or FakeClock()
        self._tokens = itertools.count(1)
        self._places = itertools.count()
        self._database = empty_ledger()
        self._connection = self._database.connection
        weakref.finalize(self, self._database.close)
        self.do(note_run, self.clock)

    def do(
        self,
        operation: Callable[Concatenate[Connection, Now, P], T],
        *args: P.args,
        **named: P.kwargs,
    ) -> T:
        """Run one of the ledger's operations in a transaction of its own."""
        return transact(
            self._connection, self.clock, lambda c, now: operation(c, now, *args, **named)
        )

    def query(self, statement: str, **named: object) -> list[Any]:
        """Read rows."""
        return list(self.do(lambda c, _: c.execute(text(statement), named).all()))

    def change(self, statement: str, **named: object) -> None:
        """Write behind the ledger's back."""
        self.do(lambda c, _: c.execute(text(statement), named).rowcount)

    def row(self, job_id: str) -> Any:
        """Read one job's row, which must be there."""
        (found,) = self.query("SELECT * FROM delivery WHERE job_id = :job", job=job_id)
        return found

    def state(self, job_id: str) -> str:
        """Where a job is on its way."""
        return str(self.row(job_id).state)

    def slots(self, scope: str) -> list[Any]:
        """Read a scope's slots in their order."""
        return self.query("SELECT * FROM slot WHERE scope = :scope ORDER BY number", scope=scope)

    def attempt(self, job_id: str, n: int = 1) -> Any:
        """Read one attempt's row, which must be there."""
        (found,) = self.query(
            "SELECT * FROM attempt WHERE job_id = :job AND n = :n", job=job_id, n=n
        )
        return found

    def dump(self) -> list[tuple[str, list[tuple[Any, ...]]]]:
        """Read everything, to show that nothing has changed."""
        names = ("delivery", "attempt", "draft", "slot", "scope", "hold", "lane", "worker")
        return [
            (n, sorted((tuple(row) for row in self.query(f"SELECT * FROM {n}")), key=repr))  # noqa: S608 - the names are right here
            for n in names
        ]

    def register(self, *names: str) -> None:
        """Begin the lease of some workers."""
        for name in names:
            self.do(workers.register, name, host="host", pid=1, version="1")

    def accept(self, *job_ids: str, **changes: Any) -> None:
        """Write jobs that are new; their place in line is their place here, though time stands."""
        for job_id in job_ids:
            place = {"batch_index": next(self._places)}
            assert self.do(deliveries.accept, new_job(job_id, **{**place, **changes}))

    def new_token(self) -> str:
        """Make a token that was never used."""
        return f"t{next(self._tokens)}"

    def take(
        self,
        *limits: Limit,
        lane: Lane = LANE,
        worker: str = "w1",
        ahead_seconds: float = 3.0,
        probes: tuple[str, ...] = (),
    ) -> Claim | Nothing:
        """Take the next job of a lane."""
        return self.do(
            lanes.take,
            lane,
            sorted(limits),
            worker=worker,
            token=self.new_token(),
            ahead_seconds=ahead_seconds,
            probes=probes,
        )

    def claim(self, *limits: Limit, worker: str = "w1", lane: Lane = LANE) -> Claim:
        """Take a job that must be there to be taken."""
        taken = self.take(*limits, worker=worker, lane=lane)
        assert isinstance(taken, Claim)
        return taken

    def begin(
        self,
        claim: Claim,
        *,
        worker: str = "w1",
        on_unknown: str = "resend",
        resend_after_seconds: float = 600.0,
    ) -> None:
        """Begin a claimed job."""
        self.do(
            deliveries.begin_claimed,
            claim,
            terms=Terms(worker, "smtp", self.clock.wall, on_unknown, resend_after_seconds),
        )

    def settle(
        self, claim: Claim, settlement: Settlement = ACCEPTED, *, begun: bool = True
    ) -> bool:
        """Record what a claimed job's attempt came to."""
        return self.do(
            endings.settle,
            claim.job_id,
            claim.token,
            claim.attempts + 1,
            settlement,
            begun=begun,
        )

    def in_data(self, job_id: str, *limits: Limit, worker: str = "w1", **named: Any) -> Claim:
        """Bring a new job into DATA."""
        self.accept(job_id)
        claim = self.claim(*limits, worker=worker)
        self.begin(claim, worker=worker, **named)
        return claim

    def close(self) -> None:
        """Let go of it."""
        self._database.close()
