"""Several limits at once under any sequence of moves: each holds, and none is taken in part.

Three lanes on the real statements: a company's batches and the single sends of the same mailbox,
and another company's batches under the same ceiling; minutes, days and a cap on connections.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)

from tests.support.ledger import ACCEPTED, LOST, Store, deferred
from tests.support.limits import LIMITS, limited
from worker.errors import BeginRefused
from worker.ledger import endings, workers
from worker.ledger.lanes import Lane
from worker.ledger.rows import Claim, Settlement
from worker.ledger.slots import Blocked, find_slots, settle_slots, take_slots
from worker.pace import Limit, limits_of

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from worker.ledger.clock import Now

LANES = (
    Lane("acme", "jane", "batch"),
    Lane("acme", "jane", "send"),
    Lane("bear", "kim", "batch"),
)
NAMES = ("w1", "w2")
PAUSES = st.sampled_from([0.0, 1.5, 58.5, 60.0, 43_200.0, 86_395.0])
REPLIES = st.sampled_from([0.0, 25.0])
LONGEST_REPLY_SECONDS = 25.0
CONNECTIONS = Limit("conn:acme/jane", 2, window_seconds=0.0, even=False)


class Limits(RuleBasedStateMachine):
    """Workers take, begin, settle, put back, connect and die; settings and time change.

    The server counts a mail at its begin, or at the end of its reply: both are judged.
    """

    tokens: Bundle[str] = Bundle("tokens")
    connections: Bundle[str] = Bundle("connections")

    @initialize()
    def open(self) -> None:
        """Start with two workers, and limits that can be reached."""
        self.store = Store()
        self.numbers: dict[str, int | None] = dict.fromkeys(LIMITS, 2)
        self.alive = dict.fromkeys(NAMES, 0)
        for name in NAMES:
            self.store.register(f"{name}.0")
        self.count = 0
        self.claims: dict[str, tuple[str, Claim, list[Limit]]] = {}
        self.begun: dict[str, float] = {}
        self.connected: dict[str, str] = {}
        self.spans: list[tuple[float, float, list[Limit]]] = []

    def teardown(self) -> None:
        """Let go of the ledger."""
        self.store.close()

    def worker(self, name: str) -> str:
        """The name of a worker's present life."""
        return f"{name}.{self.alive[name]}"

    @rule(seconds=PAUSES)
    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.store.clock.advance(seconds)

    @rule(name=st.sampled_from(LIMITS), number=st.one_of(st.none(), st.integers(1, 3)))
    def set_limit(self, name: str, number: int | None) -> None:
        """Change or remove a limit: the next taker sees it."""
        self.numbers[name] = number

    @rule(
        target=tokens,
        name=st.sampled_from(NAMES),
        lane=st.sampled_from(LANES),
        pace=st.sampled_from(["even", "burst"]),
        ahead_seconds=st.sampled_from([0.0, 3.0]),
    )
    def take(
        self, name: str, lane: Lane, pace: str, ahead_seconds: float
    ) -> str | MultipleResults[str]:
        """Take the next job of a lane: with a slot of every limit, or nothing at all."""
        limits = limits_of(
            limited(context=lane.company, user=lane.user, kind=lane.kind, pace=pace, **self.numbers)
        )
        self.count += 1
        self.store.accept(f"j{self.count}", company=lane.company, user=lane.user, kind=lane.kind)
        before = self.held()
        worker = self.worker(name)
        taken = self.store.take(*limits, lane=lane, worker=worker, ahead_seconds=ahead_seconds)
        if not isinstance(taken, Claim):
            assert self.held() == before
            assert taken.scope in {limit.scope for limit in limits}
            return multiple()
        self.claims[taken.token] = (worker, taken, limits)
        return taken.token

    @rule(token=tokens)
    def begin(self, token: str) -> None:
        """Begin with all slots of the claim, or with none."""
        if token not in self.claims or token in self.begun:
            return
        worker, claim, _ = self.claims[token]
        before = self.store.dump()
        try:
            self.store.begin(claim, worker=worker)
        except BeginRefused:
            assert claim.not_before_steady > self.store.clock.steady
            assert self.store.dump() == before
        else:
            self.begun[token] = self.store.clock.steady

    @rule(
        token=consumes(tokens),
        seconds=REPLIES,
        outcome=st.sampled_from([ACCEPTED, LOST, deferred(0.0)]),
    )
    def settle(self, token: str, seconds: float, outcome: Settlement) -> None:
        """Hear what became of the mail: each slot rests its own window from now."""
        if token not in self.begun:
            return
        self.store.clock.advance(seconds)
        _, claim, limits = self.claims.pop(token)
        now = self.store.clock.steady
        self.spans.append((self.begun.pop(token), now, limits))
        before = {(row.scope, row.number) for row in self.slots_of(token)}
        assert self.store.settle(claim, outcome)
        for limit in limits:
            rested = [
                row
                for row in self.store.slots(limit.scope)
                if (row.scope, row.number) in before
                and row.usable_steady == now + limit.window_seconds
            ]
            assert len(rested) == 1

    @rule(token=consumes(tokens))
    def put_back(self, token: str) -> None:
        """Put a job back that never reached the server: its slots are free as before."""
        if token not in self.claims or token in self.begun:
            return
        _, claim, limits = self.claims.pop(token)
        taken = {(row.scope, row.number): row.usable_steady for row in self.slots_of(token)}
        self.store.do(endings.release, claim, due_at=0.0, reason="put back")
        for limit in limits:
            for row in self.store.slots(limit.scope):
                if (row.scope, row.number) in taken:
                    assert (row.worker, row.usable_steady) == (None, taken[row.scope, row.number])

    @rule(name=st.sampled_from(NAMES), lane=st.sampled_from(LANES), seconds=REPLIES)
    def send(self, name: str, lane: Lane, seconds: float) -> None:
        """Take, begin and settle in one go, as mostly happens."""
        token = self.take(name, lane, "burst", 0.0)
        if isinstance(token, str):
            self.begin(token)
            self.settle(token, seconds, ACCEPTED)

    @rule(target=connections, name=st.sampled_from(NAMES))
    def connect(self, name: str) -> str | MultipleResults[str]:
        """Open one more connection to the mailbox, if it may have one."""
        self.count += 1
        token, worker = f"c{self.count}", self.worker(name)

        def operation(connection: Connection, now: Now) -> bool:
            found = find_slots(connection, now, [CONNECTIONS], 0.0)
            if isinstance(found, Blocked):
                return False
            take_slots(connection, now, found, worker=worker, token=token)
            return True

        taken = self.store.do(operation)
        assert taken == (len(self.connected) < CONNECTIONS.limit)
        if not taken:
            return multiple()
        self.connected[token] = worker
        return token

    @rule(token=consumes(connections))
    def disconnect(self, token: str) -> None:
        """Close a connection; one of a dead worker is closed already."""
        freed = self.store.do(settle_slots, token)
        assert freed == (self.connected.pop(token, None) is not None)

    @rule(name=st.sampled_from(NAMES))
    def die(self, name: str) -> None:
        """A worker is found dead, and a new one comes: what it had sent may be accepted yet."""
        worker = self.worker(name)
        self.store.do(workers.bury, worker)
        for token in [t for t, (owner, _, _) in self.claims.items() if owner == worker]:
            _, _, limits = self.claims.pop(token)
            if token in self.begun:
                latest = self.store.clock.steady + LONGEST_REPLY_SECONDS
                self.spans.append((self.begun.pop(token), latest, limits))
        self.connected = {t: owner for t, owner in self.connected.items() if owner != worker}
        self.alive[name] += 1
        self.store.register(self.worker(name))

    @rule(name=st.sampled_from(NAMES), lane=st.sampled_from(LANES), pause_seconds=PAUSES)
    def die_in_data(self, name: str, lane: Lane, pause_seconds: float) -> None:
        """Die with a mail on its way, then let time pass."""
        token = self.take(name, lane, "burst", 0.0)
        if isinstance(token, str):
            self.begin(token)
        self.die(name)
        self.wait(pause_seconds)

    def held(self) -> list[tuple[str, int, str]]:
        """Every slot that is in somebody's hands."""
        return [
            (row.scope, row.number, row.token)
            for row in self.store.query(
                "SELECT scope, number, token FROM slot WHERE token IS NOT NULL ORDER BY 1, 2"
            )
        ]

    def slots_of(self, token: str) -> list[Any]:
        """The slots that a token holds."""
        return self.store.query("SELECT * FROM slot WHERE token = :token", token=token)

    @invariant()
    def a_token_has_one_slot_of_each_limit(self) -> None:
        """All that the job came under when it was taken, and nobody else holds a slot."""
        expected = {
            (limit.scope, token)
            for token, (_, _, limits) in self.claims.items()
            for limit in limits
        } | {(CONNECTIONS.scope, token) for token in self.connected}
        held = self.held()
        assert {(scope, token) for scope, _, token in held} == expected
        assert len(held) == len(expected)

    @invariant()
    def no_window_holds_more_than_its_limit(self) -> None:
        """By scope and its own window: a minute's and a day's, however the mails lie in them."""
        scopes = {limit.scope for _, _, limits in self.spans for limit in limits}
        for scope in scopes:
            under = [
                (begun, last, limit)
                for begun, last, limits in self.spans
                for limit in limits
                if limit.scope == scope
            ]
            begins = sorted((begun, limit.limit) for begun, _, limit in under)
            ends = sorted((last, limit.limit) for _, last, limit in under)
            window_seconds = under[0][2].window_seconds
            for times in (begins, ends):
                for since, _ in times:
                    inside = [n for at, n in times if since <= at < since + window_seconds]
                    assert len(inside) <= max(inside), scope


LimitsTest = Limits.TestCase
LimitsTest.settings = settings(deadline=None, max_examples=40, stateful_step_count=30)
