"""When waiting mail will have left: a model of limits and turns, pure.

Mail is taken for a fluid. At any moment each line flows as fast as its turns and its limits let it;
the rates change when a line empties, mail becomes due, or a scope's slots come free again. Turns
are shared as the pump shares them (``share``): single sends first; then the companies under a
ceiling by weight; then the users of a company by weight; what one cannot use, the others get.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from functools import lru_cache
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple

from worker.gates import FAST_PER_SECOND, Gate, Level, level_of

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence

    from config.effective import EffectiveSettings
    from worker.gates import Opening
    from worker.pace import Limit

COARSE: Final = 0.01
"""Lines that empty within this share of the time so far empty at once, so that thousands cost little."""
SELF: Final = 1e-6
"""The mail that is asked about: it must find a place too, but moves nobody else's."""
_TINY: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Line:
    """The mail of one lane.

    Attributes:
        name: whatever the caller knows it by.
        batch: whether its mail waits until no single send of the mailbox does.
        scopes: the scopes that it takes slots of.
        arrivals: when how many emails become due, in seconds from now; those due now at 0.
    """

    name: Hashable
    company: str
    batch: bool
    scopes: tuple[str, ...]
    arrivals: tuple[tuple[float, float], ...]
    company_weight: int = 1
    user_weight: int = 1

    def at(self, level: Level) -> tuple[str, ...]:
        """Its scopes of one level."""
        return _at(self.scopes, level)


@lru_cache(maxsize=65_536)
def _at(scopes: tuple[str, ...], level: Level) -> tuple[str, ...]:
    return tuple(scope for scope in scopes if level_of(scope) is level)


class Leaving(NamedTuple):
    """When one email leaves.

    Attributes:
        before: how many emails leave before it, of those that share the scope.
        scope: the limit that keeps it the longest; None where no limit does.
    """

    seconds: float
    before: float
    scope: str | None


class Phase(NamedTuple):
    """A time in which nothing changes; lines by their names.

    Attributes:
        flows: how fast each line flows, in emails per second.
        binding: what keeps each line from flowing faster; None where no limit does.
        emptied: when lines have emptied in it.
    """

    at: float
    seconds: float
    flows: Mapping[Hashable, float]
    binding: Mapping[Hashable, str | None]
    emptied: Mapping[Hashable, float]


def share(room: float, wanted: Sequence[tuple[float, float]]) -> list[float]:
    """Share some room among (want, weight): fairly by weight, nobody more than it wants.

    What one leaves over the others get, so either the room or every want is used up (weighted
    max-min fairness).
    """
    given = [0.0] * len(wanted)
    weight_left = sum(weight for _, weight in wanted)
    order = sorted(range(len(wanted)), key=lambda n: wanted[n][0] / wanted[n][1])
    for n in order:
        want, weight = wanted[n]
        given[n] = max(0.0, min(want, room * weight / weight_left if weight_left else 0.0))
        room -= given[n]
        weight_left -= weight
    return given


def drained(lines: Sequence[Line], openings: Iterable[Opening]) -> dict[Hashable, float]:
    """Tell in how many seconds each line will have emptied."""
    known = {opening.scope: opening for opening in openings}
    ends: dict[Hashable, float] = {line.name: 0.0 for line in lines}
    for group in _related(lines):
        for phase in Course(group, known).phases():
            ends.update(phase.emptied)
    return ends


def leaving(
    line: Line, others: Iterable[Line], openings: Iterable[Opening], due_seconds: float = 0.0
) -> Leaving:
    """Tell when an email leaves that becomes due in ``due_seconds``.

    Args:
        line: its own, with only what goes before it.
        others: the other lines; itself may be among them.
    """
    known = {opening.scope: opening for opening in openings}
    asked = replace(line, arrivals=(*line.arrivals, (max(0.0, due_seconds), SELF)))
    every = [asked, *(other for other in others if other.name != line.name)]
    related = next(group for group in _related(every) if asked in group)
    gone: defaultdict[Hashable, float] = defaultdict(float)
    kept: defaultdict[str | None, float] = defaultdict(float)
    at, turn = 0.0, 0.0
    for phase in Course(related, known).phases():
        at = phase.emptied.get(asked.name, phase.at + phase.seconds)
        if asked.name in phase.binding:
            kept[phase.binding[asked.name]] += at - phase.at
        for name, flow in phase.flows.items():
            gone[name] += flow * (at - phase.at)
        if asked.name in phase.emptied and at >= due_seconds:
            turn = _half_a_turn(phase, asked, related)
            break
    scope = max(kept, key=kept.__getitem__, default=None)
    before = sum(gone[other.name] for other in related if other is asked or scope in other.scopes)
    return Leaving(at + turn, max(0.0, before - SELF), scope)


def _half_a_turn(phase: Phase, asked: Line, related: Iterable[Line]) -> float:
    """How long an email at the head of its line waits for its turn, on average."""
    scope, own = phase.binding[asked.name], phase.flows[asked.name]
    if scope is None or own <= 0.0:
        return 0.0
    all_of_it = sum(phase.flows.get(other.name, 0.0) for other in related if scope in other.scopes)
    return max(0.0, 1 / own - 1 / all_of_it) / 2


def _related(lines: Sequence[Line]) -> list[list[Line]]:
    """Group lines that share scopes, also by way of others."""
    root: dict[Hashable, Hashable] = {}

    def find(key: Hashable) -> Hashable:
        while root.setdefault(key, key) != key:
            root[key] = root[root[key]]
            key = root[key]
        return key

    for line in lines:
        for scope in line.scopes:
            root[find(("scope", scope))] = find(("line", line.name))
    groups: dict[Hashable, list[Line]] = {}
    for line in lines:
        groups.setdefault(find(("line", line.name)), []).append(line)
    return list(groups.values())


class Course:
    """How lines that share scopes empty, phase by phase."""

    def __init__(self, lines: Sequence[Line], openings: Mapping[str, Opening]) -> None:
        self._lines = {line.name: line for line in lines}
        scopes = {scope for line in lines for scope in line.scopes}
        self._gates = {s: Gate(openings[s]) for s in scopes if s in openings}
        self._backlog: dict[Hashable, float] = {}
        self._due = sorted(
            (
                (at, n, line.name, mails)
                for line in lines
                for n, (at, mails) in enumerate(line.arrivals)
                if mails
            ),
            key=lambda due: due[:2],
            reverse=True,
        )
        self._at = 0.0

    def phases(self) -> Iterator[Phase]:
        """Go on until every line has emptied."""
        self._let_in()
        while self._backlog or self._due:
            flows, binding = self._flows()
            used = self._used(flows)
            seconds = self._until_change(flows, used)
            emptied = {}
            for name, flow in flows.items():
                left = self._backlog[name] - flow * seconds
                if left <= _TINY:
                    emptied[name] = self._at + min(seconds, self._backlog.pop(name) / flow)
                else:
                    self._backlog[name] = left
            for scope, gate in self._gates.items():
                gate.use(self._at, seconds, used[scope])
            yield Phase(self._at, seconds, flows, binding, emptied)
            self._at += seconds
            self._let_in()

    def _let_in(self) -> None:
        """Let what has become due wait in its line."""
        while self._due and self._due[-1][0] <= self._at + _TINY:
            _, _, name, mails = self._due.pop()
            self._backlog[name] = self._backlog.get(name, 0.0) + mails

    def _until_change(self, flows: Mapping[Hashable, float], used: Mapping[str, float]) -> float:
        empty = min((self._backlog[n] / flow for n, flow in flows.items() if flow > 0), default=inf)
        lines = min(empty, self._due[-1][0] - self._at if self._due else inf)
        gates = min((g.steady_for(self._at, used[s]) for s, g in self._gates.items()), default=inf)
        return max(_TINY, min(gates, max(lines, COARSE * self._at if empty < inf else 0.0)))

    def _used(self, flows: Mapping[Hashable, float]) -> dict[str, float]:
        used = dict.fromkeys(self._gates, 0.0)
        for name, flow in flows.items():
            for scope in self._lines[name].scopes:
                if scope in used:
                    used[scope] += flow
        return used

    def _room(self, scopes: Iterable[str], spent: Mapping[str, float]) -> tuple[float, str | None]:
        """How much more flows through these scopes, and which of them lets the least."""
        rooms = [
            (max(0.0, self._gates[s].speed(self._at) - spent.get(s, 0.0)), s)
            for s in scopes
            if s in self._gates
        ]
        return min(rooms, default=(FAST_PER_SECOND, None))

    def _flows(self) -> tuple[dict[Hashable, float], dict[Hashable, str | None]]:
        """How fast each line flows now, and what binds it: single sends first, then batches."""
        flows: dict[Hashable, float] = {}
        binding: dict[Hashable, str | None] = {}
        for batch in (False, True):
            active = [line for name in self._backlog if (line := self._lines[name]).batch is batch]
            spent = self._used(flows)
            rooms = self._rooms(active, spent)
            for ceiling, companies in _by_ceiling(active).items():
                self._share_out(ceiling, companies, rooms, spent, flows, binding)
        return flows, binding

    def _rooms(
        self, active: Sequence[Line], spent: Mapping[str, float]
    ) -> dict[Hashable, tuple[float, str | None]]:
        """How much each line's own mailbox lets through, and by which scope.

        A user's line and that of jobs without a user may share a mailbox.
        """
        sharing = Counter(line.at(Level.MAILBOX) for line in active)
        rooms = {}
        for line in active:
            own = line.at(Level.MAILBOX)
            room, scope = self._room(own, spent)
            rooms[line.name] = (room / sharing[own], scope)
        return rooms

    def _share_out(
        self,
        ceiling: tuple[str, ...],
        companies: Mapping[str, Sequence[Line]],
        rooms: Mapping[Hashable, tuple[float, str | None]],
        spent: Mapping[str, float],
        flows: dict[Hashable, float],
        binding: dict[Hashable, str | None],
    ) -> None:
        """Share what a ceiling lets through among companies, and each one's share among its users."""
        limits = [self._room(lines[0].at(Level.CONTEXT), spent) for lines in companies.values()]
        wants = [
            (min(limit, sum(rooms[line.name][0] for line in lines)), lines[0].company_weight)
            for (limit, _), lines in zip(limits, companies.values(), strict=True)
        ]
        room, scope_of_all = self._room(ceiling, spent)
        for (limit, scope_of_context), flow, lines in zip(
            limits, share(room, wants), companies.values(), strict=True
        ):
            own = share(flow, [(rooms[line.name][0], line.user_weight) for line in lines])
            bound = scope_of_context if flow >= limit - _TINY else scope_of_all
            for line, of_line in zip(lines, own, strict=True):
                most, scope_of_mailbox = rooms[line.name]
                flows[line.name] = of_line
                binding[line.name] = scope_of_mailbox if of_line >= most - _TINY else bound


def _by_ceiling(lines: Iterable[Line]) -> dict[tuple[str, ...], dict[str, list[Line]]]:
    """Sort lines by what all batches share, and by company."""
    found: dict[tuple[str, ...], dict[str, list[Line]]] = {}
    for line in lines:
        found.setdefault(line.at(Level.SHARED), {}).setdefault(line.company, []).append(line)
    return found


def line_of(
    name: Hashable,
    settings: EffectiveSettings,
    arrivals: Iterable[tuple[float, float]],
    limits: Iterable[Limit],
) -> Line:
    """Make the line of a lane from the settings in force for it."""
    return Line(
        name,
        settings.context,
        settings.kind == "batch",
        tuple(limit.scope for limit in limits),
        tuple(arrivals),
        settings.company_weight,
        settings.user_weight,
    )
