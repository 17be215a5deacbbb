"""A pump in virtual time: where it waits, the test's clock goes on, or something happens."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from tests.support.fakes import WORKER, limited_settings
from tests.support.jobs import make_job
from worker.capacity import Capacity
from worker.faults import Faults
from worker.holding import Holding
from worker.ledger.lanes import Lane
from worker.pump import Pump, Source
from worker.work import Work

if TYPE_CHECKING:
    from collections.abc import Callable

    from config.effective import EffectiveSettings
    from config.errors import ConfigError
    from tests.support.clock import FakeClock
    from tests.support.fakes import Desk
    from worker.errors import PostmeterError

MOST_WAITS = 10_000


class VirtualWake:
    """In place of a condition: waiting lets the clock go on, unless something happens first.

    Attributes:
        waits: how long each wait would have been, in seconds.
        meanwhile: what happens during the waits to come, one each.
    """

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._notified = False
        self.waits: list[float] = []
        self.meanwhile: deque[Callable[[], object]] = deque()

    def __enter__(self) -> None:
        """Nobody else is here."""

    def __exit__(self, *_: object) -> None:
        """Nobody waits for it."""

    def notify(self) -> None:
        """End the wait under way."""
        self._notified = True

    def wait(self, seconds: float) -> None:
        """Let so much time pass, or less."""
        self.waits.append(seconds)
        assert len(self.waits) < MOST_WAITS, "the pump does not rest"
        self._notified = False
        if self.meanwhile:
            self.meanwhile.popleft()()
        if not self._notified:
            self._clock.advance(seconds)


@dataclass
class FaultLog:
    """In place of the log: the faults, and whose line each was."""

    faults: list[tuple[str, str]] = field(default_factory=list)

    def error(self, event: str, **fields: Any) -> None:
        """Note a fault."""
        assert event == "a fault in Postmeter"
        self.faults.append((fields["user"], repr(fields["exc_info"])))


@dataclass
class Pumping:
    """A pump over a desk's ledger, and everything it asks or tells.

    Attributes:
        by_user: the settings in force by user, or why there are none; "" for all others.
        looks: how often each lane's settings were asked for.
        monotonic: the clock of its waits; left out, the desk's.
        log: the faults that it told of.
    """

    desk: Desk
    capacity: Capacity = field(default_factory=Capacity)
    holding: Holding = field(default_factory=Holding)
    by_user: dict[str, EffectiveSettings | Exception] = field(default_factory=dict)
    explained: list[tuple[Lane, str, ConfigError | None]] = field(default_factory=list)
    away: list[PostmeterError] = field(default_factory=list)
    looks: list[str] = field(default_factory=list)
    monotonic: Callable[[], float] | None = None
    log: FaultLog = field(default_factory=FaultLog)
    _edition: dict[str, EffectiveSettings | Exception] = field(default_factory=dict)
    _given: dict[Lane, EffectiveSettings] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.wake = VirtualWake(self.desk.clock)
        self.faults = Faults(self.log, lambda: self.desk.clock.steady)
        self.pump = Pump(
            Source(
                ledger=self.desk.ledger,
                worker=WORKER,
                resolve=self.resolve,
                lead_seconds=self.desk.server.lead_seconds,
                holding=self.holding,
                capacity=self.capacity,
                new_token=self.desk.new_token,
                explain=lambda *told: self.explained.append(told),
                on_unavailable=self.away.append,
                faults=self.faults,
                settings_in_force=self.settings_in_force,
                monotonic=self.monotonic or (lambda: self.desk.clock.steady),
            )
        )
        self.pump._wake = cast("Any", self.wake)

    def settings_in_force(self) -> object:
        """What is another object once a test has changed the settings."""
        if self._edition != self.by_user:
            self._edition = dict(self.by_user)
            self._given = {}
        return self._edition

    def resolve(self, company: str | None, user: str | None, kind: str) -> EffectiveSettings:
        """What a test has set for the user, of that kind; the same object until that changes."""
        self.looks.append(user or "")
        self.settings_in_force()
        found = self.by_user.get(user or "", self.by_user.get(""))
        if isinstance(found, Exception):
            raise found
        lane = Lane(company or "_system", user or "jane", kind)
        if lane not in self._given:
            changes: dict[str, Any] = {
                "context": lane.company,
                "company": company,
                "user": lane.user,
                "kind": kind,
            }
            self._given[lane] = replace(found or limited_settings(), **changes)
        return self._given[lane]

    def next(self, timeout_seconds: float = 0.2) -> Work | None:
        """The next work, or None after so much of the test's time."""
        given = self.pump.next(timeout_seconds)
        if given is None:
            return None
        work = given["work"]
        assert isinstance(work, Work)
        return work

    def drain(self, timeout_seconds: float = 0.2) -> list[tuple[str, str]]:
        """Take everything that is to be had: user and kind of each, in order."""
        taken = []
        while (work := self.next(timeout_seconds)) is not None:
            taken.append((work.claim.user, work.claim.kind))
        return taken


def fill(desk: Desk, *lines: tuple[str, str, int]) -> None:
    """Let jobs wait: user, kind and how many."""
    number = desk.tokens * 1000
    for user, kind, count in lines:
        for index in range(count):
            number += 1
            batch = {"batch_id": "b1", "batch_index": number} if kind == "batch" else {}
            job_id = f"019f0000-0000-7000-8000-{number:012d}"
            desk.accept(make_job(id=job_id, user=user, kind=kind, **batch))
            desk.clock.advance(0.001 * (index == 0))
