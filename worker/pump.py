"""The pump: which waiting job may go next.

It knows the lines with a job that is due, and serves them in turn (``turns``). A line is passed by
while what it needs is held, its limit has no slot, or enough of its kind is in flight (``waits``);
so neither a thousand waiting mails nor a thousand lines that must wait cost more than one.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from worker.errors import LedgerUnavailable
from worker.ledger import lanes
from worker.ledger.holds import all_holds
from worker.ledger.rows import Nothing
from worker.lines import Lines
from worker.pace import AHEAD_SECONDS, limits_of
from worker.turns import Level, Turns
from worker.waits import Waits
from worker.work import Work

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import Connection

    from config.effective import EffectiveSettings
    from config.errors import ConfigError
    from worker.capacity import Capacity
    from worker.faults import Faults
    from worker.holding import Holding
    from worker.ledger.clock import Now
    from worker.ledger.holds import Hold
    from worker.ledger.lanes import Lane
    from worker.ledger.ledger import Ledger
    from worker.ledger.rows import Claim
    from worker.waits import Need

REFRESH_SECONDS = 0.25
READ_ALL_SECONDS = 1.0
OVERLAP_SECONDS = 5.0
"""Longer than a transaction may take: what it wrote bears the time of its beginning."""
SPARE_AHEAD_SECONDS = 0.15  # beyond the transport's lead: in hand before the slot is usable
LEASE = "lease"  # the scope that the ledger names to a worker which was found dead


class Source(NamedTuple):
    """What the pump needs of the rest of the process.

    Attributes:
        resolve: the settings in force for company, user and kind; raises ConfigError.
        lead_seconds: how long a transport needs before the mail itself can leave.
        explain: told of a lane that can't be served, and why.
        faults: told of a fault that concerns one lane.
        window_seconds: how long a slot rests; a minute but in tests.
        settings_in_force: an object that is another one once any settings have changed. Left out,
            they are resolved anew at every reading, which costs more the more lines wait.
    """

    ledger: Ledger
    worker: str
    resolve: Callable[[str | None, str | None, str], EffectiveSettings]
    lead_seconds: Callable[[EffectiveSettings], float]
    holding: Holding
    capacity: Capacity
    new_token: Callable[[], str]
    explain: Callable[[Lane, str, ConfigError | None], None]
    on_unavailable: Callable[[LedgerUnavailable], None]
    faults: Faults
    window_seconds: float = 60.0
    settings_in_force: Callable[[], object] = object
    monotonic: Callable[[], float] = time.monotonic


class Pump:
    """Hands out claimed jobs, one at a time; called from one consumer thread."""

    def __init__(self, source: Source) -> None:
        self._s = source
        self._turns = Turns()
        self._waits = Waits(self._turns, source.holding, source.capacity)
        self._lines = Lines(
            self._turns,
            resolve=source.resolve,
            explain=source.explain,
            faults=source.faults,
            window_seconds=source.window_seconds,
        )
        self._in_force: object = None
        self._holds_put = 0
        self._read_again_at = 0.0
        self._read_all_at = 0.0
        self._read_until_at = 0.0
        self._wake = threading.Condition()
        self._nudged: set[Lane] = set()
        self._ended: deque[EffectiveSettings] = deque()
        self._in_hand: deque[Work] = deque()
        self._stirred = False
        self._wants_room = False
        self._paused = False

    def next(self, timeout_seconds: float) -> Mapping[str, object] | None:
        """The keyword arguments of the next ``deliver``, or None after the time-out."""
        deadline = self._s.monotonic() + timeout_seconds
        while (left := deadline - self._s.monotonic()) > 0:
            try:
                work, pause = (None, REFRESH_SECONDS) if self._paused else self._look()
            except LedgerUnavailable as error:
                self._s.on_unavailable(error)
                work, pause = None, REFRESH_SECONDS
            if work is not None:
                return {"work": work}
            with self._wake:
                if not self._stirred:
                    self._wake.wait(min(left, pause))
                self._stirred = False
        return None

    def done(self, kwargs: Mapping[str, object]) -> None:
        """A handed-out job is no longer in flight."""
        work = kwargs["work"]
        assert isinstance(work, Work)
        self._s.capacity.leave(work.settings)
        self._ended.append(work.settings)
        self.room()

    def room(self) -> None:
        """Tell that something is in flight no more; wakes the pump only if it waits for that."""
        if self._wants_room:
            self._stir()

    def nudge(self, lane: Lane) -> None:
        """Tell that a job was just put into a lane."""
        with self._wake:
            self._nudged.add(lane)
        self._stir()

    def pause(self) -> None:
        """Hand out nothing (the ledger is away, or the process stops)."""
        self._paused = True

    def resume(self) -> None:
        """Hand out again."""
        self._paused = False
        self._stir()

    def _stir(self) -> None:
        with self._wake:
            self._stirred = True
            self._wake.notify()

    def _look(self) -> tuple[Work | None, float]:
        """Find a job in the lines known to be due; else how long to wait."""
        if self._in_hand and self._s.ledger.holds_put == self._holds_put:
            return self._in_hand.popleft(), 0.0
        self._put_back_what_is_in_hand()
        self._refresh()
        steady = self._s.ledger.now().steady
        self._waits.wake(steady)
        self._wants_room = self._waits.wants_room
        while not self._paused and (lane := self._turns.next()) is not None:
            if self._lines.alone(lane, self._try):
                return self._in_hand.popleft(), 0.0
            if self._nudged:  # a single send does not wait until all others were asked
                self._take_in_nudged()
        pause = min(self._turns.wakes_at() - steady, self._read_again_at - self._s.monotonic())
        return None, max(pause, 0.001)

    def _refresh(self) -> None:
        """Take in the lines that were nudged, and now and then what ledger and settings say.

        After a delivery of this process has held something it reads at once: the same mail would
        be taken and put back until then.
        """
        self._take_in_nudged()
        self._take_back_slots()
        holds_put = self._s.ledger.holds_put
        if self._s.monotonic() < self._read_again_at and holds_put == self._holds_put:
            return
        self._read_again_at, self._holds_put = self._s.monotonic() + REFRESH_SECONDS, holds_put
        in_force = self._s.settings_in_force()
        changed = in_force is not self._in_force
        if changed:
            self._s.faults.try_again()
        self._read(everything=changed or self._read_all_at <= self._s.monotonic())
        if changed:
            if self._lines.resolve_anew():
                self._waits.reopen()
            self._in_force = in_force

    def _read(self, *, everything: bool) -> None:
        """Read the holds and the lines that became due, or all lines that are due.

        Most stay due from one reading to the next. What only a reading of all shows, such as a job
        that another process put into the past, is seen after a second at most.
        """
        since_at = self._read_until_at - OVERLAP_SECONDS

        def operation(connection: Connection, now: Now) -> tuple[list[Lane], list[Hold], Now]:
            if everything:
                due = lanes.due_lanes(connection, now)[0]
            else:
                due = lanes.newly_due(connection, now, since_at)
            return due, all_holds(connection), now

        due, holds, now = self._s.ledger.read(operation)
        self._read_until_at = now.wall
        self._s.holding.replace(holds, now.wall)
        self._waits.holds_read()
        if everything:
            self._read_all_at = self._s.monotonic() + READ_ALL_SECONDS
            self._lines.keep(due)
            self._turns.forget()
            self._waits.forget(now.steady)
        self._lines.take_in(due)

    def _take_in_nudged(self) -> None:
        with self._wake:
            nudged, self._nudged = self._nudged, set()
        self._lines.take_in(nudged)

    def _take_back_slots(self) -> None:
        """Ask again for what the jobs that have ended may have given back unused."""
        steady = self._s.ledger.now().steady
        while self._ended:
            settings = self._ended.popleft()
            self._waits.slot_came_back(limits_of(settings, self._s.window_seconds), steady)

    def _try(self, lane: Lane) -> bool:
        """Try the line whose turn it is: take jobs in hand; else it rests, or is gone, from now on."""
        need, now = self._lines[lane], self._s.ledger.now()
        holds = self._s.holding.of(need.settings)
        if self._waits.is_held(lane, need, holds, now):
            return False
        if self._waits.has_no_slot(lane, need, now.steady) or not self._enter(lane, need):
            return False
        taken = self._take(lane, need, [hold.target for hold in holds])
        if not isinstance(taken, Nothing):
            self._turns.served(lane, len(taken))
            self._in_hand.extend(Work(claim, need.settings) for claim in taken)
            return True
        if taken.scope == LEASE:
            self._turns.rest(lane, Level.EVERYTHING, taken.until_steady)
        elif taken.scope:
            self._waits.no_slot(lane, need, taken.scope, taken.until_steady, now.steady)
        else:
            if holds:
                self._waits.lost_probe(lane, need, holds, now.steady + REFRESH_SECONDS)
            self._lines.drop(lane)
            self._read_all_at = 0.0  # it may be that its jobs were only locked just now
        return False

    def _enter(self, lane: Lane, need: Need) -> bool:
        """Take a place in flight; where there is none, whoever leaves one wakes the pump."""
        if self._s.capacity.try_enter(need.settings):
            return True
        self._wants_room = True
        if self._s.capacity.try_enter(need.settings):
            return True  # one has left before it could know
        self._waits.no_room(lane, need)
        return False

    def _take(self, lane: Lane, need: Need, probes: list[str]) -> list[Claim] | Nothing:
        """Take from a lane, keeping a place in flight for each job that there was."""
        tokens, took = [self._s.new_token()], 0
        try:
            most = 1 if probes else self._lines.most(need)
            while len(tokens) < most and self._s.capacity.try_enter(need.settings):
                tokens.append(self._s.new_token())
            taken = self._s.ledger.call(
                partial(
                    lanes.take_some,
                    lane=lane,
                    limits=need.limits,
                    worker=self._s.worker,
                    tokens=tokens,
                    ahead_seconds=self._ahead_seconds(need),
                    probes=probes,
                )
            )
            took = 0 if isinstance(taken, Nothing) else len(taken)
        except Exception:
            for token in tokens:  # it may have been taken: nobody would ever settle it
                self._s.ledger.disown(token)
            raise
        finally:
            for _ in tokens[took:]:
                self._s.capacity.leave(need.settings)
        return taken

    def _put_back_what_is_in_hand(self) -> None:
        """Let wait what was taken with others, after one of them has run into a hold."""
        while self._in_hand:
            work = self._in_hand.popleft()
            self._s.ledger.disown(work.claim.token)
            self._s.capacity.leave(work.settings)

    def _ahead_seconds(self, need: Need) -> float:
        if not need.limits:
            return 0.0
        return min(AHEAD_SECONDS, self._s.lead_seconds(need.settings) + SPARE_AHEAD_SECONDS)
