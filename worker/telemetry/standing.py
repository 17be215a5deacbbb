"""How things stand: what waits and why, what is held, what it comes to; pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from worker.binding import binding
from worker.holding import Holding
from worker.ledger.rows import UNREADABLE, Prio
from worker.outcome import HoldTarget
from worker.pace import limits_of
from worker.telemetry.drain import drain_seconds
from worker.telemetry.metrics import WaitReason

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from config.effective import EffectiveSettings
    from worker.gates import Opening
    from worker.ledger.figures import Line
    from worker.ledger.holds import Hold
    from worker.telemetry.rules import Rules

HOLD_REASONS = {
    "throttled": ("too many", "more than", "sent more", "limits how", "reached its", "in use"),
    "credential": ("login", "log in", "password", "username", "authenti"),
    # Not every sentence that names tls_mode: a server that says nothing is unreachable first of all.
    "tls": (
        "tls failed",
        "tls is",
        "tls first",
        "starttls",
        "starting tls",
        "certificate",
        "ca_file",
    ),
    "unreachable": ("connect", "timed out", "in time", "cannot be found", "closed", "no answer"),
    "busy": ("busy", "for now", "no space", "451", "452", "421"),
}
"""Words that the reason of feedback's hold is recognised by, the first that fits; else ``other``."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits.

    Attributes:
        jobs: how many, by company, kind and reason.
        oldest_due_at: since when the one that is due the longest could have gone (Unix seconds).
        drain_seconds: by company, in how many seconds its due jobs will have left; not of one that
            comes under no limit, nor where nobody can tell.
        under: how many due jobs each limit keeps, by scope and layer: of several the one that binds.
    """

    jobs: Mapping[tuple[str, str, WaitReason], int] = field(default_factory=dict)
    oldest_due_at: float | None = None
    drain_seconds: Mapping[str, float] = field(default_factory=dict)
    under: Mapping[tuple[str, str], int] = field(default_factory=dict)


def waiting(
    lines: Sequence[Line],
    rules: Rules,
    holds: Iterable[Hold],
    openings: Iterable[Opening] = (),
    now_wall: float = 0.0,
) -> Waiting:
    """Sum up the lanes: how much waits for what, and how long that will take.

    Args:
        openings: how their limits stand; a limit that is not there is unused.
    """
    holding = Holding()
    holding.replace(holds, now_wall)
    openings = list(openings)
    uses = {opening.scope: opening.use for opening in openings}
    jobs: Counter[tuple[str, str, WaitReason]] = Counter()
    under: Counter[tuple[str, str]] = Counter()
    for line in lines:
        company = rules.label(line.company)
        if line.paused:
            jobs[company, line.kind, WaitReason.HELD] += line.jobs
            continue
        later = WaitReason.RETRY if line.prio == Prio.RETRY else WaitReason.DATE
        settings = rules.resolve(line.company, line.user, line.kind)
        why = _why_due(line, settings, holding)
        jobs[company, line.kind, why] += line.due
        jobs[company, line.kind, later] += line.jobs - line.due
        binds = binding(rules.limits_of(line.company, line.user, line.kind), uses)
        if why is WaitReason.LIMIT and line.due and binds is not None:
            under[binds.limit.scope, binds.limit.layer] += line.due
    due_since = [line.first_due_at for line in lines if line.due and line.kind != UNREADABLE]
    return Waiting(
        {key: n for key, n in jobs.items() if n},
        min(due_since, default=None),
        drain_seconds(lines, rules, holding, openings, now_wall),
        under,
    )


def _why_due(line: Line, settings: EffectiveSettings | None, holding: Holding) -> WaitReason:
    """Why jobs that are due have not gone."""
    if line.kind == UNREADABLE:
        return WaitReason.VERSION
    if settings is None:
        return WaitReason.SETTINGS
    if holding.of(settings):
        return WaitReason.HELD
    return WaitReason.LIMIT if limits_of(settings) else WaitReason.TURN


def count_holds(holds: Iterable[Hold]) -> Counter[tuple[str, str]]:
    """Count holds by what they stand on and by a short word for the reason."""
    counts: Counter[tuple[str, str]] = Counter()
    for hold in holds:
        target = HoldTarget.parse(hold.target)
        if hold.is_pause:
            counts[target.kind.value, "paused"] += 1
            continue
        # The reason begins with the target's name, which may hold any word.
        reason = hold.reason.removeprefix(f"{target.key}: ").lower()
        counts[target.kind.value, _word_for(reason)] += 1
    return counts


def _word_for(reason: str) -> str:
    fitting = (name for name, words in HOLD_REASONS.items() if any(w in reason for w in words))
    return next(fitting, "other")
