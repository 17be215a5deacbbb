"""Slots under any sequence of moves: a model beside the statements, and the bound itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

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

from tests.support.ledger import Store
from worker.errors import BeginRefused
from worker.ledger.slots import (
    DEAD_WORKER_GRACE_SECONDS,
    Blocked,
    begin_slots,
    find_slots,
    reap_slots,
    release_slots,
    settle_slots,
    take_slots,
)
from worker.pace import Limit

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from worker.ledger.clock import Now

SCOPES = ("all", "company:acme")
WORKERS = st.sampled_from(["w1", "w2"])
PAUSES = st.sampled_from([0.0, 1.5, 30.0, 58.5])
LONGEST_REPLY_SECONDS = 25.0


class Slots(RuleBasedStateMachine):
    """Workers take, begin, settle, release and die; limits move; time passes.

    The server accepts between begin and settle, or within the longest reply where the worker died;
    both ends of that time are judged, so the bound holds wherever in it the server counted.
    """

    tokens: Bundle[str] = Bundle("tokens")

    @initialize()
    def open(self) -> None:
        """Start with an empty ledger."""
        self.store = Store()
        self.limits = dict.fromkeys(SCOPES, 1)
        self.count = 0
        self.owners: dict[str, tuple[str, tuple[int, ...]]] = {}
        self.not_before: dict[str, float] = {}
        self.taken: set[str] = set()
        self.in_data: dict[str, float] = {}
        self.spans: list[tuple[float, float, tuple[int, ...]]] = []

    def teardown(self) -> None:
        """Let go of the memory."""
        self.store.close()

    @rule(seconds=PAUSES)
    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.store.clock.advance(seconds)

    @rule(scope=st.sampled_from(SCOPES), number=st.integers(1, 3))
    def set_limit(self, scope: str, number: int) -> None:
        """Change a limit: the next taker sees it."""
        self.limits[scope] = number

    @rule(
        target=tokens,
        worker=WORKERS,
        ahead_seconds=st.sampled_from([0.0, 3.0]),
        even=st.booleans(),
        both=st.booleans(),
    )
    def take(
        self, worker: str, ahead_seconds: float, *, even: bool, both: bool
    ) -> str | MultipleResults[str]:
        """Take a slot of one scope or of both."""
        limits = [Limit(s, self.limits[s], even=even) for s in (SCOPES if both else SCOPES[:1])]
        self.count += 1
        token = f"t{self.count}"

        def operation(connection: Connection, now: Now) -> float | None:
            found = find_slots(connection, now, limits, ahead_seconds)
            if isinstance(found, Blocked):
                assert found.until_steady > now.steady
                return None
            return take_slots(connection, now, found, worker=worker, token=token).not_before_steady

        before = self.store.query(
            "SELECT scope, number, worker, token FROM slot ORDER BY scope, number"
        )
        not_before = self.store.do(operation)
        if not_before is None:
            after = self.store.query(
                "SELECT scope, number, worker, token FROM slot ORDER BY scope, number"
            )
            assert [row for row in after if row.token] == [row for row in before if row.token]
            return multiple()
        assert not_before <= self.store.clock.steady + ahead_seconds
        self.owners[token] = (worker, tuple(limit.limit for limit in limits))
        self.not_before[token] = not_before
        self.taken.add(token)
        return token

    @rule(token=tokens)
    def begin(self, token: str) -> None:
        """Begin: exactly when the token is fresh and its slots are usable."""
        count = len(self.owners[token][1])
        usable = self.store.query(
            "SELECT max(usable_steady) FROM slot WHERE token = :token", token=token
        )[0][0]
        allowed = token in self.taken and usable <= self.store.clock.steady
        before = self.store.dump()
        try:
            self.store.do(begin_slots, token, count)
        except BeginRefused:
            assert not allowed
            assert self.store.dump() == before
        else:
            assert allowed
            self.taken.remove(token)
            self.in_data[token] = self.store.clock.steady

    @rule(token=tokens)
    def settle(self, token: str) -> None:
        """Settle: the first time it counts, later it changes nothing."""
        before = self.store.dump()
        settled = self.store.do(settle_slots, token)
        if token in self.in_data:
            self.spans.append(
                (self.in_data.pop(token), self.store.clock.steady, self.owners[token][1])
            )
        elif token in self.taken:
            self.taken.remove(token)  # MAIL was refused: the slot is used, nothing was accepted
        else:
            assert settled == 0
            assert self.store.dump() == before

    @rule(
        worker=WORKERS,
        pause_seconds=PAUSES,
        reply_seconds=st.sampled_from([0.0, LONGEST_REPLY_SECONDS]),
    )
    def send(self, worker: str, pause_seconds: float, reply_seconds: float) -> None:
        """Wait, take, begin and settle in one go, as mostly happens."""
        self.store.clock.advance(pause_seconds)
        token = self.take(worker, 0.0, even=False, both=True)
        if isinstance(token, str):
            self.begin(token)
            self.store.clock.advance(reply_seconds)
            self.settle(token)

    @rule(target=tokens, worker=WORKERS, pause_seconds=PAUSES)
    def take_ahead(self, worker: str, pause_seconds: float) -> str | MultipleResults[str]:
        """Take a slot that may not be usable yet, and try to begin too early."""
        self.store.clock.advance(pause_seconds)
        token = self.take(worker, 3.0, even=False, both=True)
        if isinstance(token, str):
            self.begin(token)
        return token

    @rule(token=consumes(tokens))
    def release(self, token: str) -> None:
        """Release: only what has not begun."""
        before = self.store.dump()
        released = self.store.do(lambda c, _: release_slots(c, token))
        if token in self.taken:
            self.taken.remove(token)
            assert released == len(self.owners[token][1])
        else:
            assert released == 0
            assert self.store.dump() == before

    @rule(worker=WORKERS)
    def die(self, worker: str) -> None:
        """A worker is found dead: what it had sent may be accepted for a while yet."""
        self.store.do(reap_slots, worker)
        for token in [t for t, (owner, _) in self.owners.items() if owner == worker]:
            self.taken.discard(token)
            if token in self.in_data:
                begun = self.in_data.pop(token)
                latest = max(begun, self.store.clock.steady) + LONGEST_REPLY_SECONDS
                self.spans.append((begun, latest, self.owners[token][1]))

    @invariant()
    def every_slot_is_with_who_holds_it(self) -> None:
        """A slot has a worker exactly while a token that is taken or in DATA holds it."""
        held = self.store.query("SELECT token, count(*), min(in_data) FROM slot GROUP BY token")
        found = {token: (count, in_data) for token, count, in_data in held if token}
        assert found == {
            **{token: (len(self.owners[token][1]), 0) for token in self.taken},
            **{token: (len(self.owners[token][1]), 1) for token in self.in_data},
        }

    @invariant()
    def no_window_holds_more_than_the_limit(self) -> None:
        """Whether the server counted at the begin or at the end of each reply, or in between."""
        ends = [(begun, limits[0]) for begun, _, limits in self.spans]
        later = [(last, limits[0]) for _, last, limits in self.spans]
        for times in (sorted(ends), sorted(later)):
            for since, _ in times:
                window = [limit for at, limit in times if since <= at < since + 60.0]
                assert len(window) <= max(window)


assert DEAD_WORKER_GRACE_SECONDS >= LONGEST_REPLY_SECONDS
SlotsTest = Slots.TestCase
SlotsTest.settings = settings(deadline=None, max_examples=150, stateful_step_count=30)
