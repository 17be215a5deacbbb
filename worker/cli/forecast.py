"""When a waiting email will leave, and because of which limit; what else keeps it.

The model is ``worker/forecasting.py``: limits and turns as they are now. What is published
meanwhile, a hold or a retry make it later: a forecast is no promise.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

from config.errors import ConfigError
from config.values import SYSTEM
from worker import forecasting
from worker.holding import Holding
from worker.ledger.holds import all_holds
from worker.ledger.openings import openings_of
from worker.ledger.overview import (
    accepted_by_lane,
    ahead_in_lane,
    all_workers,
    lanes_with_work,
    later_by_lane,
)
from worker.ledger.rows import State
from worker.outcome import HoldTarget
from worker.pace import WINDOW_SECONDS, limits_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection

    from config.effective import EffectiveSettings
    from config.settings import Settings
    from worker.gates import Opening
    from worker.ledger.clock import Now
    from worker.ledger.holds import Hold
    from worker.ledger.lanes import Lane
    from worker.ledger.overview import Accepted, LaneRecord
    from worker.ledger.queries import JobRecord
    from worker.pace import Limit

NO_SETTINGS: Final = "there are no settings on this machine, so limits are not known here"
NO_WORKER: Final = "no worker is running: start one with `postmeter worker`"
NOW_SECONDS: Final = 0.001


class Cause(StrEnum):
    """What keeps a waiting email."""

    TURN = "turn"
    LIMIT = "limit"
    DATE = "date"
    PAUSE = "pause"
    HOLD = "hold"
    SETTINGS = "settings"
    WORKER = "worker"


class Terms(NamedTuple):
    """Under what a lane's mail goes.

    Attributes:
        settings: those in force; None where they are not known or not right.
        limits: the limits it comes under.
        holds: what holds it now.
        obstacle: why its settings let nothing go, in one sentence; else empty.
    """

    settings: EffectiveSettings | None = None
    limits: tuple[Limit, ...] = ()
    holds: tuple[Hold, ...] = ()
    obstacle: str = ""

    @property
    def held_until(self) -> float | None:
        """When every hold will be over, in Unix seconds; 0 without any, None if no one can tell."""
        ends = [hold.until_at for hold in self.holds]
        known = [end for end in ends if end is not None]
        return max(known, default=0.0) if len(known) == len(ends) else None

    @property
    def blocked(self) -> str:
        """Why nothing of the lane goes now, in one sentence; else empty."""
        if self.obstacle or not self.holds:
            return self.obstacle
        hold = min(self.holds, key=lambda hold: hold.until_at is not None)
        return f"held: {hold.target}: {hold.reason}"

    @property
    def cause(self) -> Cause:
        """What kind of thing blocks it, if anything does."""
        if self.obstacle:
            return Cause.SETTINGS
        return Cause.PAUSE if any(hold.is_pause for hold in self.holds) else Cause.HOLD


@dataclass(frozen=True, slots=True)
class Forecast:
    """When one waiting job will leave.

    Attributes:
        ahead: how many emails go before it.
        leaves_at: Unix seconds; None where it can't be told.
        cause: what keeps it.
        limit: the limit that decides, if any does.
        blocked: what else keeps it, in one sentence; else empty.
    """

    ahead: int
    leaves_at: float | None
    cause: Cause
    limit: Limit | None = None
    blocked: str = ""


class Outlook:
    """The lanes, holds and workers at one moment, and what follows for a lane or a job.

    Args:
        settings: those of this machine; None where it has none.
        window_seconds: how long a slot rests; a minute but in tests.
    """

    def __init__(
        self,
        connection: Connection,
        now: Now,
        settings: Settings | None,
        window_seconds: float = WINDOW_SECONDS,
    ) -> None:
        self._connection = connection
        self._settings = settings
        self._window_seconds = window_seconds
        self._terms: dict[Lane, Terms] = {}
        self.now = now
        every = [hold for hold in all_holds(connection) if not hold.is_over(now.wall)]
        self.holds = sorted(every, key=lambda hold: (hold.since_at, hold.target))
        self._holding = Holding()
        self._holding.replace(every, now.wall)
        self.lanes = lanes_with_work(connection, now)
        self.workers = all_workers(connection, now)

    @cached_property
    def accepted(self) -> dict[Lane, int]:
        """What servers accepted of each lane in the last window."""
        return {lane: found.emails for lane, found in self._accepted.items()}

    @cached_property
    def _accepted(self) -> dict[Lane, Accepted]:
        return accepted_by_lane(self._connection, self.now, window_seconds=self._window_seconds)

    def terms(self, lane: Lane) -> Terms:
        """Find out under what a lane's mail goes."""
        if lane not in self._terms:
            self._terms[lane] = self._find_terms(lane)
        return self._terms[lane]

    def _find_terms(self, lane: Lane) -> Terms:
        if self._settings is None:
            return Terms(obstacle=NO_SETTINGS)
        company = None if lane.company == SYSTEM else lane.company
        try:
            settings = self._settings.resolve(company, lane.user or None, lane.kind)  # type: ignore[arg-type]  # an unknown kind has no row
        except ConfigError as error:
            return Terms(obstacle=str(error))
        holds = self._holding.of(settings)
        return Terms(
            settings,
            tuple(limits_of(settings, self._window_seconds)),
            tuple(holds),
            settings.held_reason or "",
        )

    def _line(
        self, lane: Lane, arrivals: Iterable[tuple[float, float]], terms: Terms | None = None
    ) -> forecasting.Line | None:
        """A lane as the model has it; None where nobody can tell when it will go on."""
        terms = self.terms(lane) if terms is None else terms
        until = terms.held_until
        if terms.settings is None or terms.obstacle or until is None:
            return None
        opens = max(0.0, until - self.now.wall)
        shifted = ((max(at, opens), emails) for at, emails in arrivals)
        return forecasting.line_of(lane, terms.settings, shifted, terms.limits)

    @cached_property
    def openings(self) -> list[Opening]:
        """How every limit of these lanes stands."""
        limits = {x.scope: x for each in self.lanes for x in self.terms(each.lane).limits}
        sums: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        for lane, (emails, reply_seconds) in self._accepted.items():
            for limit in self.terms(lane).limits:
                sums[limit.scope][0] += emails * reply_seconds
                sums[limit.scope][1] += emails
        replies = {scope: total / emails for scope, (total, emails) in sums.items()}
        return openings_of(self._connection, self.now, limits.values(), replies)

    @cached_property
    def _drained(self) -> dict[Lane, float]:
        """In how many seconds what is due in each lane has left."""
        found = [self._line(each.lane, [(0.0, each.due)]) for each in self.lanes]
        lines = [line for line in found if line is not None]
        return forecasting.drained(lines, self.openings)  # type: ignore[return-value]  # the names are lanes

    def drain_seconds(self, lanes: Iterable[LaneRecord]) -> float | None:
        """How long until what is due in these lanes has left; None where it can't be told."""
        due = [record.lane for record in lanes if record.due]
        if any(lane not in self._drained for lane in due):
            return None
        return max((self._drained[lane] for lane in due), default=0.0)

    @cached_property
    def _others(self) -> list[forecasting.Line]:
        """Every lane with all that waits in it, what becomes due later too."""
        later = later_by_lane(self._connection, self.now)
        found = [
            self._line(each.lane, [(0.0, each.due), *later.get(each.lane, ())])
            for each in self.lanes
        ]
        return [line for line in found if line is not None]

    def of(self, job: JobRecord) -> Forecast:
        """Tell when a waiting job will leave, or one whose batch is paused."""
        terms = self.terms(job.lane)
        if job.state is State.PAUSED:
            batch = str(HoldTarget.of_batch(job.company, job.batch_id or ""))
            terms = terms._replace(holds=(*self._holding.on([batch]), *terms.holds))
        before = ahead_in_lane(self._connection, self.now, job)
        line = self._line(job.lane, before, terms)
        if line is None:
            ahead = sum(arrival.emails for arrival in before)
            return Forecast(ahead, None, terms.cause, blocked=terms.blocked)
        starts_at = max(job.due_at, terms.held_until or 0.0, self.now.wall)
        due_seconds = starts_at - self.now.wall
        leaving = forecasting.leaving(line, self._others, self.openings, due_seconds)
        ahead = round(leaving.before)
        limit = next((each for each in terms.limits if each.scope == leaving.scope), None)
        if not any(worker.alive for worker in self.workers):
            return Forecast(ahead, None, Cause.WORKER, limit, NO_WORKER)
        leaves_at = self.now.wall + leaving.seconds
        if leaves_at - starts_at > NOW_SECONDS:
            cause = Cause.TURN if limit is None else Cause.LIMIT
        else:
            leaves_at = starts_at
            cause = self._cause_of_start(job, terms)
        return Forecast(ahead, leaves_at, cause, limit, terms.blocked)

    def _cause_of_start(self, job: JobRecord, terms: Terms) -> Cause:
        """What keeps a job that leaves as soon as it may."""
        if terms.holds and (terms.held_until or 0.0) >= job.due_at:
            return terms.cause
        return Cause.DATE if job.due_at > self.now.wall else Cause.TURN


def last_of(forecasts: Sequence[Forecast]) -> Forecast | None:
    """The one that leaves last; one of which nobody can tell goes before all."""
    return max(
        forecasts,
        key=lambda each: (each.leaves_at is None, each.leaves_at or 0.0),
        default=None,
    )


def batch_limit(settings: Settings | None, company: str) -> int | None:
    """How many batch emails per minute a company may send; None where no limit is known.

    The limit is the company's, so the settings of any of its users tell it.
    """
    if settings is None or company not in settings.contexts():
        return None
    for user in settings.users(company):
        try:
            of_user = settings.resolve(None if company == SYSTEM else company, user, "batch")
        except ConfigError:
            continue
        return of_user.batch_emails_per_min
    return None
