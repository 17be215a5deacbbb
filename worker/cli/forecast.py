"""When a waiting email will leave, and because of which limit.

Lanes that share a limit take turns, so before a job with p others ahead of it in its own lane go
those p, and up to p + 1 of every other lane; single sends go before every batch. The limit then
says how long that takes. What is published meanwhile, a hold or a slow server make it later: a
forecast is no promise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from config.errors import ConfigError
from config.values import SYSTEM
from worker.holding import targets_of
from worker.ledger.holds import all_holds
from worker.ledger.overview import (
    all_workers,
    before_in_lane,
    due_up_to,
    lanes_with_work,
    slot_wait_seconds,
)
from worker.pace import CEILING, limits_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

    from config.effective import EffectiveSettings
    from config.settings import Settings
    from worker.ledger.clock import Now
    from worker.ledger.holds import Hold
    from worker.ledger.lanes import Lane
    from worker.ledger.overview import LaneRecord
    from worker.ledger.queries import JobRecord
    from worker.pace import Limit

NO_SETTINGS: Final = "there are no settings on this machine, so limits are not known here"
NO_WORKER: Final = "no worker is running: start one with `postmeter worker`"


class Terms(NamedTuple):
    """Under what a lane's mail goes.

    Attributes:
        limits: the limits it comes under.
        sources: where each of them is written, by scope.
        holds: what holds it now.
        obstacle: why its settings let nothing go, in one sentence; else empty.
    """

    limits: tuple[Limit, ...] = ()
    sources: dict[str, str] = {}  # noqa: RUF012 - never changed: it stands for "none"
    holds: tuple[Hold, ...] = ()
    obstacle: str = ""

    @property
    def lowest(self) -> Limit | None:
        """The limit that lets the fewest emails go."""
        return min(self.limits, key=lambda limit: limit.limit, default=None)

    @property
    def blocked(self) -> str:
        """Why nothing of the lane goes now, in one sentence; else empty."""
        if self.obstacle or not self.holds:
            return self.obstacle
        return f"held: {self.holds[0].target}: {self.holds[0].reason}"


@dataclass(frozen=True, slots=True)
class Forecast:
    """When one waiting job will leave.

    Attributes:
        ahead: how many emails go before it.
        leaves_at: Unix seconds; None where it can't be told.
        limit: the limit that decides, if any does.
        source: where that limit is written.
        blocked: why it can't be told; else empty.
    """

    ahead: int
    leaves_at: float | None
    limit: Limit | None = None
    source: str = ""
    blocked: str = ""


class Outlook:
    """The lanes, holds and workers at one moment, and what follows for a lane or a job.

    Args:
        settings: those of this machine; None where it has none.
    """

    def __init__(self, connection: Connection, now: Now, settings: Settings | None) -> None:
        self._connection = connection
        self._settings = settings
        self._holds = {hold.target: hold for hold in all_holds(connection)}
        self._terms: dict[Lane, Terms] = {}
        self.now = now
        self.lanes = lanes_with_work(connection, now)
        self.workers = all_workers(connection, now)

    @property
    def holds(self) -> list[Hold]:
        """Every hold, the oldest first."""
        return sorted(self._holds.values(), key=lambda hold: (hold.since_at, hold.target))

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
        limits = tuple(limits_of(settings))
        holds = [self._holds[target] for target in targets_of(settings) if target in self._holds]
        return Terms(
            limits,
            {limit.scope: _source(settings, limit.scope) for limit in limits},
            tuple(holds),
            settings.held_reason or "",
        )

    def drain_seconds(self, lanes: Iterable[LaneRecord]) -> float | None:
        """How long until what is due in these lanes has left; None where it can't be told.

        A scope's other lanes take their turns meanwhile, so all of them count.
        """
        longest = 0.0
        for record in lanes:
            terms = self.terms(record.lane)
            if terms.blocked:
                return None
            for limit in terms.limits if record.due else ():
                emails = sum(
                    each.due
                    for each in self.lanes
                    if (_is_batch(record.lane) or not _is_batch(each.lane))
                    and self._shares(each.lane, limit)
                )
                longest = max(longest, emails * limit.window_seconds / limit.limit)
        return longest

    def of(self, job: JobRecord) -> Forecast:
        """Tell when a waiting job will leave."""
        terms = self.terms(job.lane)
        in_lane = before_in_lane(self._connection, self.now, job)
        leaves_at, decisive, most = max(job.due_at, self.now.wall), None, in_lane
        for limit in terms.limits:
            ahead = in_lane + sum(
                self._goes_before(each, job, in_lane)
                for each in self.lanes
                if each.lane != job.lane and self._shares(each.lane, limit)
            )
            wait = slot_wait_seconds(self._connection, self.now, limit.scope, limit.limit)
            at = self.now.wall + wait + ahead * limit.window_seconds / limit.limit
            most = max(most, ahead)
            if at > leaves_at or (decisive is None and at >= leaves_at):
                leaves_at, decisive = at, limit
        blocked = terms.blocked
        if not blocked and not any(worker.alive for worker in self.workers):
            blocked = NO_WORKER
        return Forecast(
            most,
            None if blocked else leaves_at,
            decisive,
            terms.sources[decisive.scope] if decisive else "",
            blocked,
        )

    def _goes_before(self, other: LaneRecord, job: JobRecord, in_lane: int) -> int:
        """How many jobs of another lane go before a job with ``in_lane`` before it in its own."""
        if _is_batch(other.lane) == _is_batch(job.lane):
            return due_up_to(self._connection, self.now, other.lane, in_lane + 1)
        return other.due if _is_batch(job.lane) else 0

    def _shares(self, lane: Lane, limit: Limit) -> bool:
        """Whether a lane uses up a limit too; one that is blocked does not now."""
        terms = self.terms(lane)
        return not terms.blocked and any(each.scope == limit.scope for each in terms.limits)


def _is_batch(lane: Lane) -> bool:
    return lane.kind == "batch"


def _source(settings: EffectiveSettings, scope: str) -> str:
    """Where a scope's limit is written: ``companies/acme/company.toml, smtp.batch_…``."""
    if scope == CEILING:
        key = "all_batch_emails_per_min"
    elif scope.startswith("mailbox:"):
        key = "mailbox_emails_per_min"
    else:
        key = "batch_emails_per_min"
    written = settings.provenance[key]
    return f"{written.file}, {written.key}" if written.file else written.key


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
