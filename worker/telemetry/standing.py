"""How things stand: what waits and why, what is held, what it comes to; pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from worker.binding import binding
from worker.holding import Holding
from worker.ledger.rows import UNREADABLE, Prio
from worker.outcome import HoldTarget
from worker.pace import is_of_recipients, limits_of
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
_WORSE = (WaitReason.DAY, WaitReason.PAUSED, WaitReason.HELD)
"""Of several holds, which word tells more: what nobody wanted comes last."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits.

    Attributes:
        jobs: how many, by company, kind and reason.
        oldest: since when the one that is due the longest could have gone (Unix seconds), by the
            same.
        drain_seconds: by company, in how many seconds its due jobs will have left; not of one that
            comes under no limit, nor where nobody can tell.
        under: how many due jobs each limit keeps, by scope and layer: of several the one that binds.
    """

    jobs: Mapping[tuple[str, str, WaitReason], int] = field(default_factory=dict)
    oldest: Mapping[tuple[str, str, WaitReason], float] = field(default_factory=dict)
    drain_seconds: Mapping[str, float] = field(default_factory=dict)
    under: Mapping[tuple[str, str], int] = field(default_factory=dict)

    @property
    def oldest_due_at(self) -> float | None:
        """Since when the one that is due the longest of all could have gone (Unix seconds)."""
        return min(self.oldest.values(), default=None)


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
    oldest: dict[tuple[str, str, WaitReason], float] = {}
    for line in lines:
        company = rules.label(line.company)
        if line.paused:
            jobs[company, line.kind, WaitReason.PAUSED] += line.jobs
            continue
        later = WaitReason.RETRY if line.prio == Prio.RETRY else WaitReason.DATE
        settings = rules.resolve(line.company, line.user, line.kind)
        why = _why_due(line, settings, holding)
        binds = binding(rules.limits_of(line.company, line.user, line.kind), uses)
        if why is WaitReason.LIMIT and line.due and binds is not None:
            under[binds.limit.scope, binds.limit.layer] += line.due
            why = WaitReason.DAY if binds.waits and binds.limit.per == "day" else why
        key = company, line.kind, why
        jobs[key] += line.due
        jobs[company, line.kind, later] += line.jobs - line.due
        if line.due and line.kind != UNREADABLE:
            oldest[key] = min(line.first_due_at, oldest.get(key, line.first_due_at))
    return Waiting(
        {key: n for key, n in jobs.items() if n},
        oldest,
        drain_seconds(lines, rules, holding, openings, now_wall),
        under,
    )


def _why_due(line: Line, settings: EffectiveSettings | None, holding: Holding) -> WaitReason:
    """Why jobs that are due have not gone."""
    if line.kind == UNREADABLE:
        return WaitReason.VERSION
    if settings is None:
        return WaitReason.SETTINGS
    holds = holding.of(settings)
    if holds:
        return max(map(_why_held, holds), key=_WORSE.index)
    return WaitReason.LIMIT if limits_of(settings) else WaitReason.TURN


def _why_held(hold: Hold) -> WaitReason:
    if hold.is_pause:
        return WaitReason.PAUSED
    return (
        WaitReason.DAY if is_of_recipients(HoldTarget.parse(hold.target).key) else WaitReason.HELD
    )


def count_holds(holds: Iterable[Hold]) -> Counter[tuple[str, str]]:
    """Count holds by what they stand on and by a short word for the reason."""
    return Counter((HoldTarget.parse(hold.target).kind.value, reason_word(hold)) for hold in holds)


def reason_word(hold: Hold) -> str:
    """A hold's reason in one word: nothing of what a server or a person has said."""
    if hold.is_pause:
        return "paused"
    # The reason begins with the target's name, which may hold any word.
    reason = hold.reason.removeprefix(f"{HoldTarget.parse(hold.target).key}: ").lower()
    fitting = (name for name, words in HOLD_REASONS.items() if any(w in reason for w in words))
    return next(fitting, "other")
