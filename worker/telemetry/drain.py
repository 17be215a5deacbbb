"""In how many seconds what is due will have left, by company; pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from worker import forecasting
from worker.gates import Opening

if TYPE_CHECKING:
    from collections.abc import Iterable

    from worker.holding import Holding
    from worker.ledger.figures import Line
    from worker.pace import Limit
    from worker.telemetry.rules import Rules


def limits_over(lines: Iterable[Line], rules: Rules) -> list[Limit]:
    """List the limits that what is due in these lanes comes under."""
    lanes = {(line.company, line.user, line.kind) for line in lines if line.due}
    return list({x.scope: x for lane in lanes for x in rules.limits_of(*lane)}.values())


def drain_seconds(
    lines: Iterable[Line],
    rules: Rules,
    holding: Holding,
    openings: Iterable[Opening],
    now_wall: float,
) -> dict[str, float]:
    """Tell when what is due of each company will have left.

    A company that comes under no limit is not told, nor one of which nobody can tell when a hold
    will be over.

    Args:
        openings: how the limits stand; one that is not there is unused.
    """
    due: Counter[tuple[str, str, str]] = Counter()
    for line in lines:
        due[line.company, line.user, line.kind] += line.due
    flowing: list[forecasting.Line] = []
    known: dict[str, Opening] = {}
    untold = set()
    for lane, emails in due.items():
        settings = rules.resolve(*lane) if emails else None
        if settings is None:
            continue
        holds = holding.of(settings)
        ends = [hold.until_at for hold in holds if hold.until_at is not None]
        if len(ends) < len(holds):
            untold.add(settings.context)
            continue
        opens_seconds = max(0.0, max(ends, default=0.0) - now_wall)
        limits = rules.limits_of(*lane)
        known.update((limit.scope, Opening(limit)) for limit in limits)
        flowing.append(forecasting.line_of(lane, settings, [(opens_seconds, emails)], limits))
    known.update((opening.scope, opening) for opening in openings)
    ends_by_lane = forecasting.drained(flowing, known.values())
    drain: dict[str, float] = {}
    for flow in flowing:
        if flow.scopes and flow.company not in untold:
            seconds = ends_by_lane[flow.name]
            drain[flow.company] = max(drain.get(flow.company, 0.0), seconds)
    return drain
