"""The status page: how things stand, as HTML; pure.

Ids and counts only, as on the board that it is made of. It needs no script, and of a large
installation it shows the busiest and says how many more there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from worker.telemetry.web.attention import attention
from worker.telemetry.web.frame import frame
from worker.telemetry.web.markup import Markup, tag, together
from worker.telemetry.web.plot import described, plot
from worker.telemetry.web.tables import SECTIONS, moment
from worker.wording import duration

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from worker.telemetry.board import Board, Scope
    from worker.telemetry.web.attention import Need

SHOWN_SCOPES: Final = 24
REFRESH_SECONDS: Final = 10
"""After how long the page loads itself again: a header says so, not the page."""
STALE_SECONDS: Final = 30.0
"""Figures that are older are said to be old."""
STAY: Final = "refresh=off"
"""The query of a page that does not load itself again."""


def status_page(
    board: Board, now_wall: float, *, alerts: Collection[str] = (), refresh: bool = True
) -> bytes:
    """Write the page.

    Args:
        now_wall: Unix seconds.
        alerts: the alerts that the runbook has a page of.
        refresh: whether the page is sent so that it loads itself again.
    """
    needs = attention(board)
    state = f"{len(needs)} to look at" if needs else "all is well"
    sections = [
        section(name, title, make(board, now_wall), class_="table")
        for name, title, make in SECTIONS
        if name != "days" or board.days
    ]
    body = together(
        tag(
            "header",
            tag("h1", "Postmeter"),
            _as_of(board, now_wall),
            _links(refresh=refresh, runbook=bool(alerts)),
        ),
        tag(
            "main",
            section("now", "Now", _needs(needs, alerts), _figures(board, now_wall)),
            section("limits", "Sent against limit", *_scopes(board)),
            tag("div", *sections, class_="columns"),
            id="main",
        ),
        tag("footer", tag("p", *_how_to_act())),
    )
    return frame(f"Postmeter: {state}", body)


def section(name: str, title: str, *contents: Markup | None, class_: str | None = None) -> Markup:
    """Write a part of a page under a heading."""
    heading = tag("h2", title, id=name)
    return tag("section", heading, *contents, aria_labelledby=name, class_=class_)


def _as_of(board: Board, now_wall: float) -> Markup:
    old = now_wall - board.at
    age = tag("strong", f", {duration(old)} ago") if old >= STALE_SECONDS else None
    said = (f"Version {board.version}, as of ", moment(board.at, now_wall), " UTC", age)
    return tag("p", *said, class_="quiet")


def _links(*, refresh: bool, runbook: bool) -> Markup:
    links = [("/metrics", "Metrics"), ("/healthz", "Health"), ("/readyz", "Readiness")]
    if runbook:
        links.append(("/runbook/", "Runbook"))
    links.append((f"/?{STAY}", "Stop refreshing") if refresh else ("/", "Refresh again"))
    items = [tag("li", tag("a", words, href=path)) for path, words in links]
    return tag("nav", tag("ul", *items), aria_label="Pages")


def _needs(needs: Sequence[Need], alerts: Collection[str]) -> Markup:
    if not needs:
        return tag("p", "Nothing needs you.", class_="well")
    items = (
        tag("li", need.words, *_what_to_do(need.alert if need.alert in alerts else ""))
        for need in needs
    )
    return tag("ul", *items, class_="needs")


def _what_to_do(alert: str) -> tuple[Markup | str, ...]:
    if not alert:
        return ()
    link = tag("a", "What to do", href=f"/runbook/{alert}", aria_label=f"What to do: {alert}")
    return " ", link


def _figures(board: Board, now_wall: float) -> Markup:
    """The few numbers that are looked at first."""
    jobs = sum(line.jobs for line in board.lines)
    oldest = board.oldest_due_at
    alive = [worker for worker in board.workers if worker.alive]
    figures = [
        ("waiting", f"{jobs:,}"),
        ("due the longest", "-" if oldest is None else duration(now_wall - oldest)),
        ("in hand", f"{board.in_hand:,}"),
        ("held", f"{len(board.holds):,}"),
        ("dead", f"{sum(count for _, count in board.dead):,}"),
        ("unknown", f"{sum(count for _, count in board.unknown):,}"),
        ("workers ready", f"{sum(worker.ready for worker in alive)} of {len(alive)}"),
    ]
    pairs = (tag("div", tag("dt", name), tag("dd", value)) for name, value in figures)
    return tag("dl", *pairs, class_="figures")


def _scopes(board: Board) -> list[Markup]:
    if not board.scopes:
        words = "No limit is set, and nothing was sent in the last hour."
        return [tag("p", words, class_="quiet")]
    shown = board.scopes[:SHOWN_SCOPES]
    cards = (_scope(scope, f"scope-{place}") for place, scope in enumerate(shown))
    made = [tag("div", *cards, class_="cards")]
    more = len(board.scopes) - len(shown)
    if more > 0:
        made.append(tag("p", f"… and {more:,} more, less used than these", class_="quiet"))
    return made


def _scope(scope: Scope, name: str) -> Markup:
    """One limit: what its window holds now, and its last hour."""
    if scope.limit is None:
        now = together(tag("strong", f"{scope.window:,}"), " in the last 60 s, no limit")
    else:
        now = together(
            tag("strong", f"{scope.window:,} of {scope.limit:,}"),
            f" in the last 60 s ({scope.window / scope.limit:.0%})",
        )
    limit = None if scope.limit is None else tag("span", f"dashed: the limit, {scope.limit:,}")
    axis = (tag("span", "an hour ago"), limit, tag("span", "now"))
    parts = [
        f"at most {scope.worst:,} in any 60 s" if scope.worst else "",
        f"limit set by: {scope.layer}" if scope.layer else "",
    ]
    minutes = " ".join(map(str, scope.minutes))
    return tag(
        "article",
        tag("h3", scope.id),
        tag("p", now),
        plot(scope, name),
        tag("p", *axis, class_="axis", aria_hidden="true"),
        tag("p", f"{scope.waiting:,} wait for this limit.") if scope.waiting else None,
        tag("p", described(scope)),
        tag("p", "; ".join(filter(None, parts)), class_="quiet") if any(parts) else None,
        tag(
            "details",
            tag("summary", "Minute by minute"),
            tag("p", f"The oldest first: {minutes}", class_="minutes"),
        ),
    )


def _how_to_act() -> list[Markup | str]:
    commands = ("postmeter status", "holds", "dead", "unknown", "settings check")
    listed: list[Markup | str] = ["This page only shows. To act: "]
    for command in commands:
        listed += [tag("code", command), ", "]
    return [*listed[:-1], ". The same in a terminal: ", tag("code", "postmeter top"), "."]
