"""How things stand: what the settings allow, what the ledger holds, what it comes to; pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from config.errors import ConfigError
from worker.holding import Holding, targets_of
from worker.ledger.rows import UNREADABLE, Prio
from worker.outcome import HoldTarget
from worker.pace import CEILING, limits_of, scope_of_context
from worker.telemetry.metrics import WaitReason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from config.effective import EffectiveSettings
    from config.settings import Settings
    from worker.ledger.figures import Line
    from worker.ledger.holds import Hold
    from worker.pace import Limit

HOLD_REASONS = {
    "paused": ("paused",),
    "throttled": ("too many", "more than", "sent more", "limits how", "reached its", "in use"),
    "credential": ("login", "log in", "password", "username", "authenti"),
    "tls": ("tls", "certificate", "transport_security", "ca_file"),
    "unreachable": ("connect", "timed out", "in time", "cannot be found", "closed", "no answer"),
    "busy": ("busy", "for now", "no space", "451", "452", "421"),
}
"""Words that a hold's reason is recognised by, the first that fits; else it is ``other``."""


UNKNOWN_COMPANY = "_unknown"
"""Stands for every company that the settings do not have: producers may name any."""


class Rules:
    """What one snapshot of the settings means for counting."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._contexts = frozenset(settings.contexts())
        self.limits: dict[str, Limit] = {limit.scope: limit for limit in self._all_limits()}

    def label(self, company: str) -> str:
        """The company as a label may show it."""
        return company if company in self._contexts else UNKNOWN_COMPANY

    def resolve(self, company: str, user: str, kind: str) -> EffectiveSettings | None:
        """The settings of a lane, or None where its jobs wait for settings."""
        try:
            found = self._settings.resolve(
                None if company == "_system" else company,
                user or None,
                kind,  # type: ignore[arg-type]  # the ledger's kinds are the settings' kinds
            )
        except ConfigError:
            return None
        return None if found.held_reason else found

    def scopes(self, company: str, user: str, kind: str) -> list[str]:
        """Every scope whose window counts an email of this lane."""
        settings = self.resolve(company, user, kind)
        found = {limit.scope for limit in limits_of(settings)} if settings else set()
        if kind == "batch":
            found |= {scope_of_context(company), CEILING}
        return sorted(found)

    def _all_limits(self) -> Iterator[Limit]:
        for context in self._settings.contexts():
            for user in self._settings.users(context):
                settings = self.resolve(context, user, "batch")
                if settings is not None:
                    yield from limits_of(settings)


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits.

    Attributes:
        jobs: how many, by company, kind and reason.
        oldest_due_at: since when the one that is due the longest could have gone (Unix seconds).
        drain_seconds: by company, how long its due jobs need at the limits in force.
    """

    jobs: Mapping[tuple[str, str, WaitReason], int] = field(default_factory=dict)
    oldest_due_at: float | None = None
    drain_seconds: Mapping[str, float] = field(default_factory=dict)


def waiting(
    lines: Sequence[Line], rules: Rules, holds: Iterable[Hold], window_seconds: float
) -> Waiting:
    """Sum up the lanes: how much waits for what, and how long that will take."""
    holding = Holding()
    holding.replace(holds)
    jobs: Counter[tuple[str, str, WaitReason]] = Counter()
    under: Counter[tuple[str, str]] = Counter()
    for line in lines:
        later = WaitReason.RETRY if line.prio == Prio.RETRY else WaitReason.DATE
        settings = rules.resolve(line.company, line.user, line.kind)
        company = rules.label(line.company)
        jobs[company, line.kind, _why_due(line, settings, holding)] += line.due
        jobs[company, line.kind, later] += line.jobs - line.due
        for limit in limits_of(settings) if settings else ():
            under[company, limit.scope] += line.due
    drain: dict[str, float] = {}
    for (company, scope), due in under.items():
        seconds = due / rules.limits[scope].limit * window_seconds if scope in rules.limits else 0.0
        drain[company] = max(drain.get(company, 0.0), seconds)
    due_since = [line.first_due_at for line in lines if line.due and line.kind != UNREADABLE]
    return Waiting({key: n for key, n in jobs.items() if n}, min(due_since, default=None), drain)


def _why_due(line: Line, settings: EffectiveSettings | None, holding: Holding) -> WaitReason:
    """Why jobs that are due have not gone."""
    if line.kind == UNREADABLE:
        return WaitReason.VERSION
    if settings is None:
        return WaitReason.SETTINGS
    # targets_of works out a fingerprint of each password: not for nothing.
    if holding.all() and holding.blocks(targets_of(settings)):
        return WaitReason.HELD
    return WaitReason.LIMIT if limits_of(settings) else WaitReason.TURN


def count_holds(holds: Iterable[Hold]) -> Counter[tuple[str, str]]:
    """Count holds by what they stand on and by a short word for the reason."""
    counts: Counter[tuple[str, str]] = Counter()
    for hold in holds:
        target = HoldTarget.parse(hold.target)
        # The reason begins with the target's name, which may hold any word.
        reason = hold.reason.removeprefix(f"{target.key}: ").lower()
        counts[target.kind.value, _word_for(reason)] += 1
    return counts


def _word_for(reason: str) -> str:
    fitting = (name for name, words in HOLD_REASONS.items() if any(w in reason for w in words))
    return next(fitting, "other")
