"""The pump: which waiting job may go next.

It looks only at lanes with a job that is due, in turn, the one served longest ago first; single
sends before batches. A lane is passed by while what it needs is held, its limit has no slot, or
enough of its kind is in flight; so a thousand waiting mails cost no more than one.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from config.errors import ConfigError
from worker.errors import LedgerUnavailable
from worker.holding import targets_of
from worker.ledger import lanes
from worker.ledger.rows import Claim
from worker.pace import AHEAD_SECONDS, limits_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from config.effective import EffectiveSettings
    from worker.capacity import Capacity
    from worker.holding import Holding
    from worker.ledger.holds import Hold
    from worker.ledger.lanes import Lane
    from worker.ledger.ledger import Ledger
    from worker.ledger.rows import Nothing
    from worker.pace import Limit

REFRESH_SECONDS = 0.25
SPARE_AHEAD_SECONDS = 0.15
"""Beyond the transport's lead, so that a slot is in hand before it is usable."""


class Source(NamedTuple):
    """What the pump needs of the rest of the process.

    Attributes:
        resolve: the settings in force for company, user and kind; raises ConfigError.
        lead_seconds: how long a transport needs before the mail itself can leave.
        explain: told of a lane that can't be served, and why.
        window_seconds: how long a slot rests; a minute but in tests.
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
    window_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Work:
    """A claimed job with the settings it goes under."""

    claim: Claim
    settings: EffectiveSettings


class Pump:
    """Hands out claimed jobs, one at a time; called from one consumer thread."""

    def __init__(self, source: Source) -> None:
        self._s = source
        self._lines: dict[bool, deque[Lane]] = {True: deque(), False: deque()}
        self._wake = threading.Condition()
        self._nudged: set[Lane] = set()
        self._stirred = False
        self._read_at = -REFRESH_SECONDS
        self._holds_put = 0
        self._blocked: dict[Limit, float] = {}
        self._wants_room = False
        self._paused = False

    def next(self, timeout_seconds: float) -> Mapping[str, object] | None:
        """The keyword arguments of the next ``deliver``, or None after the time-out."""
        deadline = time.monotonic() + timeout_seconds
        while (left := deadline - time.monotonic()) > 0:
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
        """Find a job in the lanes known to be due; else how long to wait."""
        self._refresh()
        self._wants_room = False
        steady = self._s.ledger.now().steady
        soonest = steady + REFRESH_SECONDS
        for is_send in (True, False):
            line = self._lines[is_send]
            for _ in range(len(line)):
                lane = line.popleft()
                work, again_at = self._try(lane, steady)
                if again_at is not None:
                    line.append(lane)
                    soonest = min(soonest, again_at)
                if work is not None:
                    return work, 0.0
        return None, max(soonest - steady, 0.001)

    def _refresh(self) -> None:
        """Read the lanes and holds now and then, and take in the lanes that were nudged.

        After a delivery of this process has held something it reads at once: the same mail would
        be taken and put back until then.
        """
        steady, holds_put = self._s.ledger.now().steady, self._s.ledger.holds_put
        if steady - self._read_at >= REFRESH_SECONDS or holds_put != self._holds_put:
            self._read_at, self._holds_put = steady, holds_put
            due, _, holds = self._s.ledger.read_lanes()
            self._s.holding.replace(holds)
            self._blocked = {limit: at for limit, at in self._blocked.items() if at > steady}
            for is_send, line in self._lines.items():
                line.clear()
                line.extend(lane for lane in due if (lane.kind != "batch") is is_send)
        with self._wake:
            nudged, self._nudged = self._nudged, set()
        for lane in nudged:
            line = self._lines[lane.kind != "batch"]
            if lane not in line:
                line.append(lane)

    def _try(self, lane: Lane, steady: float) -> tuple[Work | None, float | None]:
        """Try one lane: its job, and when to try it again (None: when it is read again)."""
        settings = self._servable(lane)
        holds = self._s.holding.of(targets_of(settings)) if settings else []
        if settings is None or not self._may_probe(holds):
            return None, None
        limits = limits_of(settings, self._s.window_seconds)
        until = max((self._blocked.get(limit, 0.0) for limit in limits), default=0.0)
        if until > steady:
            return None, until
        if not self._enter(settings):
            return None, steady + REFRESH_SECONDS
        taken = self._take(lane, settings, limits, [hold.target for hold in holds])
        if isinstance(taken, Claim):
            return Work(taken, settings), steady
        if not taken.scope:
            return None, None
        # By limit, not scope: a limit that was raised since is asked anew.
        self._blocked.update((x, taken.until_steady) for x in limits if x.scope == taken.scope)
        return None, taken.until_steady

    def _enter(self, settings: EffectiveSettings) -> bool:
        """Take a place in flight; where there is none, whoever leaves one wakes the pump."""
        if self._s.capacity.try_enter(settings):
            return True
        self._wants_room = True
        return self._s.capacity.try_enter(settings)  # one may have left before it could know

    def _take(
        self, lane: Lane, settings: EffectiveSettings, limits: list[Limit], probes: list[str]
    ) -> Claim | Nothing:
        """Take from a lane, keeping the place in flight only if there was a job."""
        took = False
        try:
            taken = self._s.ledger.call(
                partial(
                    lanes.take,
                    lane=lane,
                    limits=limits,
                    worker=self._s.worker,
                    token=self._s.new_token(),
                    ahead_seconds=self._ahead_seconds(settings, limits),
                    probes=probes,
                )
            )
            took = isinstance(taken, Claim)
        finally:
            if not took:
                self._s.capacity.leave(settings)
        return taken

    def _may_probe(self, holds: list[Hold]) -> bool:
        """Whether each of these holds waits for a job to try it out now."""
        wall = self._s.ledger.now().wall
        return all(hold.next_probe_at <= wall and not hold.probe_worker for hold in holds)

    def _ahead_seconds(self, settings: EffectiveSettings, limits: list[Limit]) -> float:
        if not limits:
            return 0.0
        return min(AHEAD_SECONDS, self._s.lead_seconds(settings) + SPARE_AHEAD_SECONDS)

    def _servable(self, lane: Lane) -> EffectiveSettings | None:
        """The settings of a lane, or None where its jobs wait for a person or for settings."""
        try:
            settings = self._s.resolve(
                None if lane.company == "_system" else lane.company, lane.user or None, lane.kind
            )
        except ConfigError as error:
            self._s.explain(lane, str(error), error)
            return None
        if settings.held_reason is not None:
            self._s.explain(lane, settings.held_reason, None)
            return None
        return settings
