"""A scope's last hour as a drawing: a bar for each minute, the limit as a line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from worker.telemetry.board import HOUR_MINUTES
from worker.telemetry.web.markup import Markup, tag
from worker.wording import plural

if TYPE_CHECKING:
    from collections.abc import Iterable

    from worker.telemetry.board import Scope

BAR: Final = 5
"""A minute's width; a bar leaves one unit of it free."""
HEIGHT: Final = 60
_WIDTH: Final = BAR * HOUR_MINUTES
_HEADROOM: Final = 1.12
_LEAST: Final = 1.5
"""What was one email among thousands is still to be seen."""


def plot(scope: Scope, name: str) -> Markup:
    """Draw it.

    Args:
        name: the drawing's id on its page.
    """
    unit = HEIGHT / (max((*scope.minutes, scope.limit or 0, 1)) * _HEADROOM)
    first = HOUR_MINUTES - len(scope.minutes)
    within: list[tuple[int, float]] = []
    over: list[tuple[int, float]] = []
    for place, emails in enumerate(scope.minutes, start=first):
        if emails:
            of = over if scope.limit is not None and emails > scope.limit else within
            of.append((place, max(emails * unit, _LEAST)))
    return tag(
        "svg",
        tag("title", f"Emails accepted by the minute: {scope.id}", id=f"{name}-title"),
        tag("desc", described(scope), id=f"{name}-desc"),
        tag("path", class_="unknown", d=f"M0 0H{first * BAR}V{HEIGHT}H0z") if first else None,
        tag("path", class_="within", d=_bars(within)) if within else None,
        tag("path", class_="over", d=_bars(over)) if over else None,
        tag("path", class_="base", d=f"M0 {HEIGHT}H{_WIDTH}"),
        _limit_line(HEIGHT - scope.limit * unit) if scope.limit else None,
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
        viewBox=f"0 0 {_WIDTH} {HEIGHT}",
        preserveAspectRatio="none",
    )


def described(scope: Scope) -> str:
    """What the drawing shows, in a sentence."""
    known = len(scope.minutes)
    hour = (
        "the last hour"
        if known == HOUR_MINUTES
        else f"the last {plural(known, 'minute')}, before which is not read yet"
    )
    most = max(scope.minutes, default=0)
    if not most:
        return f"Nothing accepted in {hour}."
    said = f"{sum(scope.minutes):,} accepted in {hour}, at most {most:,} in a minute"
    over = sum(scope.limit is not None and emails > scope.limit for emails in scope.minutes)
    return (
        f"{said}; in {plural(over, 'minute')} more than the limit is now." if over else f"{said}."
    )


def _bars(places: Iterable[tuple[int, float]]) -> str:
    return "".join(
        f"M{place * BAR} {HEIGHT}v-{height:.1f}h{BAR - 1}V{HEIGHT}z" for place, height in places
    )


def _limit_line(at: float) -> Markup:
    return tag("path", class_="limit", d=f"M0 {at:.1f}H{_WIDTH}")
