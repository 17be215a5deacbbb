"""Turns: which waiting line goes next, fair at every level, at a cost that does not grow.

Single sends go before batches. Under that, companies take turns whatever their depth or number of
users, and within a company its users do; a weight of 3 is three turns for another's one. It is
start-time fair queueing (Goyal, Vin, Cheng 1996): each turn moves a party 1/weight on, the party
least far on goes next, and a turn counts from the *present*, where the last one to go stood, if its
party is behind that. So a newcomer, and who could not go for a while, go at once, and are then
where all others are: without credit, and without a burst.

The lines hang in a tree, by what they need in common: a kind, a server, a company. What stands in
the way of everything below a branch lets that branch *rest*, once, however many lines hang there;
so to find the next line costs O(log n) and looks at no line that must wait.
"""

from __future__ import annotations

import heapq
import itertools
import math
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from worker.ledger.lanes import Lane

Rank = tuple[float, ...]
"""Who is least goes next; compared level by level."""


class Level(IntEnum):
    """What lines have in common, from everything to nothing."""

    EVERYTHING = 0
    KIND = 1
    SERVER = 2
    COMPANY = 3
    LANE = 4


class Round:
    """Those who take turns with each other; ``present`` is where the last one to go stood."""

    __slots__ = ("present",)

    def __init__(self) -> None:
        self.present = 0.0


class Turn:
    """How far a party of a round has come; ``users`` is the round within it, if it is a company."""

    __slots__ = ("at", "members", "round", "users", "weight")

    def __init__(self, of: Round) -> None:
        self.round = of
        self.users = Round()
        self.at = 0.0
        self.weight = 1
        self.members = 0

    def use(self, jobs: int) -> None:
        """Go with so many jobs, from the present on: what was missed before is not made up for.

        The present is where this turn began, however long it is: one by one, each job would carry
        it past all others, and with them what their weights have earned.
        """
        self.round.present = max(self.at, self.round.present)
        self.at = self.round.present + jobs / self.weight


class Spot:
    """A branch of the tree, or a line at the end of one; opaque to all but this module."""

    __slots__ = ("below", "entry", "lane", "line", "name", "parent", "priority", "turn", "until")

    def __init__(self, name: Hashable, parent: Spot | None) -> None:
        self.name = name
        self.parent = parent
        self.priority: Rank = ()
        self.turn: Turn | None = None
        self.lane: Lane | None = None
        self.until: float | None = None
        self.below: dict[Hashable, Spot] = {}
        # A heap of what is below and may go. Ranks grow by turns alone, so that one which is out
        # of date is found, and put right, when it comes to the top.
        self.line: list[tuple[Rank, int, Spot]] = []
        self.entry: tuple[Rank, int, Spot] | None = None

    def rank(self) -> Rank | None:
        """Where the first that may go stands; None if nobody may."""
        if self.until is not None:
            return None
        own = self.priority if self.turn is None else (self.turn.at,)
        if self.lane is not None:
            return own
        first = self.first()
        if first is None or first.entry is None:
            return None
        return own + first.entry[0]

    def first(self) -> Spot | None:
        """Who goes next of what is right below."""
        while self.line:
            entry = self.line[0]
            spot = entry[2]
            rank = spot.rank() if spot.entry is entry else None
            if rank is None:
                heapq.heappop(self.line)
                if spot.entry is entry:
                    spot.entry = None
            elif rank > entry[0]:
                spot.entry = (rank, next(_arrivals), spot)
                heapq.heapreplace(self.line, spot.entry)
            else:
                return spot
        return None

    def rise(self) -> None:
        """Stand in line at every level above, because it may go, or may go sooner."""
        spot = self
        while spot.parent is not None and (rank := spot.rank()) is not None:
            if spot.entry is None or rank < spot.entry[0]:
                spot.entry = (rank, next(_arrivals), spot)
                heapq.heappush(spot.parent.line, spot.entry)
            spot = spot.parent


_arrivals = itertools.count()
"""Among equals, who came first."""


class Turns:
    """The lines that have something to send, and whose turn it is. For one thread."""

    def __init__(self) -> None:
        self._root = Spot("", None)
        self._spots: dict[Lane, Spot] = {}
        self._rounds = {True: Round(), False: Round()}
        self._companies: dict[tuple[bool, str], Turn] = {}
        self._users: dict[Lane, Turn] = {}
        self._alarms: list[tuple[float, int, Spot]] = []

    def __contains__(self, lane: object) -> bool:
        return lane in self._spots

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._spots)

    def __len__(self) -> int:
        return len(self._spots)

    def place(
        self, lane: Lane, server: str, *, company_weight: int = 1, user_weight: int = 1
    ) -> None:
        """Let a line take part, or move it to another server's; nothing is known of what it needs."""
        self.remove(lane)
        is_send = lane.kind != "batch"
        key = is_send, lane.company
        company = self._companies.setdefault(key, Turn(self._rounds[is_send]))
        user = self._users.setdefault(lane, Turn(company.users))
        company.weight, user.weight = company_weight, user_weight
        company.members += 1
        user.members = 1
        spot = self._root
        for name in (lane.kind, server, lane.company, lane):
            below = spot.below.get(name)
            if below is None:
                below = spot.below[name] = Spot(name, spot)
                if spot is self._root:
                    below.priority = (0.0,) if is_send else (1.0,)
            spot = below
        assert spot.parent is not None
        spot.parent.turn, spot.turn, spot.lane = company, user, lane
        self._spots[lane] = spot
        spot.rise()

    def remove(self, lane: Lane) -> None:
        """Take a line out: it has nothing to send. It comes back to where it stood, if not later."""
        spot: Spot | None = self._spots.pop(lane, None)
        if spot is None:
            return
        self._companies[lane.kind != "batch", lane.company].members -= 1
        self._users[lane].members = 0
        while spot.parent is not None and not spot.below:
            spot.until = math.inf  # whatever still names it finds nobody there
            del spot.parent.below[spot.name]
            spot = spot.parent

    def next(self) -> Lane | None:
        """Whose turn it is; None where nobody may go. Changes nothing: ``served`` does."""
        spot: Spot | None = self._root
        if spot is None or spot.until is not None:
            return None
        while spot is not None and spot.lane is None:
            spot = spot.first()
        return None if spot is None else spot.lane

    def served(self, lane: Lane, jobs: int = 1) -> None:
        """Note that a line has had its turn, of so many jobs."""
        self._users[lane].use(jobs)
        self._companies[lane.kind != "batch", lane.company].use(jobs)

    def rest(self, lane: Lane, level: Level, until: float = math.inf) -> Spot:
        """Let everything that this line has in common with others wait: until then, or ``open``.

        Args:
            level: everything of the line's kind, of its server, of its company there, or itself.
            until: by the clock that ``wake`` is told.
        """
        spot = self._spots[lane]
        for _ in range(Level.LANE - level):
            assert spot.parent is not None
            spot = spot.parent
        spot.until = until
        if until < math.inf:
            heapq.heappush(self._alarms, (until, next(_arrivals), spot))
        return spot

    def open(self, spot: Spot) -> None:
        """End a rest before its time; what was removed meanwhile stays away."""
        if spot.parent is None or spot.parent.below.get(spot.name) is spot:
            spot.until = None
            spot.rise()

    def open_all(self) -> None:
        """End every rest: what was said of what may go is out of date."""
        self._alarms.clear()
        self._root.until = None
        for spot in self._spots.values():
            above: Spot | None = spot
            while above is not None:
                above.until, above = None, above.parent
        for spot in self._spots.values():
            spot.rise()

    def wake(self, now: float) -> None:
        """End the rests whose time has come."""
        while self.wakes_at() <= now:
            self.open(heapq.heappop(self._alarms)[2])

    def wakes_at(self) -> float:
        """When the next rest ends by itself; infinity if none does."""
        while self._alarms:
            until, _, spot = self._alarms[0]
            if spot.until == until:
                return until
            heapq.heappop(self._alarms)
        return math.inf

    def forget(self) -> None:
        """Drop what is known of those who have left and would come back without a difference."""
        for key, company in list(self._companies.items()):
            if not company.members and company.at <= company.round.present:
                del self._companies[key]
        for lane, user in list(self._users.items()):
            company_left = (lane.kind != "batch", lane.company) not in self._companies
            if not user.members and (company_left or user.at <= user.round.present):
                del self._users[lane]
