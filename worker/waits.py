"""What stands in a waiting line's way, and when it is gone.

A hold, a limit without a slot and a bound on what is in flight stand in the way of everything that
has them in common. So what one line runs into lets all of it rest, and is asked about once.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from worker.capacity import Bound
from worker.outcome import HoldTarget, TargetKind
from worker.pace import CEILING, scope_of_context
from worker.turns import Level

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from config.effective import EffectiveSettings
    from worker.capacity import Capacity
    from worker.holding import Holding
    from worker.ledger.clock import Now
    from worker.ledger.holds import Hold
    from worker.ledger.lanes import Lane
    from worker.pace import Limit
    from worker.turns import Spot, Turns

LONGEST_SECONDS = 60.0
"""When to ask again for a slot at the latest: a day's may come back early from a dead worker."""
SOON_SECONDS = 0.25
"""What is asked again so soon anyhow need not be told of a slot that came back."""

_LEVELS = {
    TargetKind.ALL: Level.KIND,
    TargetKind.SERVER: Level.SERVER,
    TargetKind.SYSTEM: Level.COMPANY,
    TargetKind.COMPANY: Level.COMPANY,
}
_LEVELS_OF_BOUNDS = {
    Bound.KIND: Level.KIND,
    Bound.SERVER: Level.SERVER,
    Bound.ACCOUNT: Level.LANE,
}


class Need(NamedTuple):
    """What the next job of a line needs, by the settings in force."""

    settings: EffectiveSettings
    limits: list[Limit]


class _Blocked(NamedTuple):
    """A limit without a slot: until when, and what rests for it."""

    until_steady: float
    spots: list[Spot]


def level_of_scope(scope: str, context: str) -> Level:
    """What all of a context's batches, or all batches, have in common; a mailbox nothing."""
    for common, level in ((CEILING, Level.KIND), (scope_of_context(context), Level.COMPANY)):
        if scope == common or scope.startswith(f"{common}:"):
            return level
    return Level.LANE


def level_of_target(target: str, context: str) -> Level:
    """How much a hold on this target stops, as seen from one line that it stops."""
    held = HoldTarget.parse(target)
    if held.kind is TargetKind.SCOPE:
        return level_of_scope(held.key, context)
    if held.key.endswith((":send", ":compose")) or held.key in {"send", "compose"}:
        return Level.LANE  # one branch has both kinds
    return _LEVELS.get(held.kind, Level.LANE)


class Waits:
    """Lets lines rest while something is in their way. For one thread."""

    def __init__(self, turns: Turns, holding: Holding, capacity: Capacity) -> None:
        self._turns = turns
        self._holding = holding
        self._capacity = capacity
        self._blocked: dict[Limit, _Blocked] = {}
        self._held: dict[str, list[Hold]] = {}
        self._for_holds: dict[str, list[Spot]] = {}
        self._for_room: dict[Spot, tuple[EffectiveSettings, Bound]] = {}

    @property
    def wants_room(self) -> bool:
        """Whether anything waits for a delivery to end."""
        return bool(self._for_room)

    def wake(self, steady: float) -> None:
        """End the rests that are over."""
        for spot, (settings, bound) in list(self._for_room.items()):
            if bound not in self._capacity.full(settings):
                del self._for_room[spot]
                self._turns.open(spot)
        self._turns.wake(steady)

    def is_held(self, lane: Lane, need: Need, holds: Iterable[Hold], now: Now) -> bool:
        """Whether a hold may not be tried out now; the line then rests until it may."""
        for hold in holds:
            if hold.probe_worker or hold.next_probe_at > now.wall:
                # Another's trial ends when the hold changes, and so does what no trial ends.
                forever = bool(hold.probe_worker) or hold.is_pause
                until = math.inf if forever else now.steady + hold.next_probe_at - now.wall
                level = level_of_target(hold.target, need.settings.context)
                spot = self._turns.rest(lane, level, until)
                self._for_holds.setdefault(hold.target, []).append(spot)
                return True
        return False

    def holds_read(self) -> None:
        """End the rests for holds that have changed or ended since the last reading."""
        before, self._held = self._held, {}
        for hold in self._holding.all():
            self._held.setdefault(hold.target, []).append(hold)
        for target in list(self._for_holds):
            if self._held.get(target) != before.get(target):
                for spot in self._for_holds.pop(target):
                    self._turns.open(spot)

    def lost_probe(self, lane: Lane, need: Need, holds: Sequence[Hold], until: float) -> None:
        """Another worker may just now have won the right to try a hold out: read it first."""
        level = min(level_of_target(hold.target, need.settings.context) for hold in holds)
        self._turns.rest(lane, level, until)

    def has_no_slot(self, lane: Lane, need: Need, steady: float) -> bool:
        """Whether a limit is known to have no slot now; the line then rests until it has."""
        found = [
            (known.until_steady, limit)
            for limit in need.limits
            if (known := self._blocked.get(limit)) is not None and known.until_steady > steady
        ]
        if not found:
            return False
        until, limit = max(found, key=lambda each: each[0])
        level = level_of_scope(limit.scope, need.settings.context)
        self._blocked[limit].spots.append(self._turns.rest(lane, level, until))
        return True

    def no_slot(self, lane: Lane, need: Need, scope: str, until: float, steady: float) -> None:
        """The ledger has said that a scope has no slot until then."""
        until = min(until, steady + LONGEST_SECONDS)
        # By limit, not scope: a limit that was raised since is asked anew.
        for limit in need.limits:
            if limit.scope == scope:
                self._blocked[limit] = _Blocked(until, [])
        if not self.has_no_slot(lane, need, steady):
            self._turns.rest(lane, level_of_scope(scope, need.settings.context), until)

    def slot_came_back(self, limits: Iterable[Limit], steady: float) -> None:
        """A job under these limits has ended and perhaps given its slot back: ask again."""
        for limit in limits:
            known = self._blocked.get(limit)
            if known is not None and known.until_steady > steady + SOON_SECONDS:
                self._forget(limit)

    def no_room(self, lane: Lane, need: Need) -> None:
        """Enough is in flight of the line's kind, to its server or of its account."""
        bound = next(iter(self._capacity.full(need.settings)), Bound.ACCOUNT)
        spot = self._turns.rest(lane, _LEVELS_OF_BOUNDS[bound])
        self._for_room[spot] = need.settings, bound

    def forget(self, steady: float) -> None:
        """Drop what stands in nobody's way any more."""
        self._blocked = {k: v for k, v in self._blocked.items() if v.until_steady > steady}

    def _forget(self, limit: Limit) -> None:
        for spot in self._blocked.pop(limit).spots:
            self._turns.open(spot)

    def reopen(self) -> None:
        """End every rest: the settings have changed, and with them what needs what."""
        self._for_holds.clear()
        self._for_room.clear()
        for blocked in self._blocked.values():
            blocked.spots.clear()
        self._turns.open_all()
