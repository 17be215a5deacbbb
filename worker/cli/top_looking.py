"""What a person has chosen to see in ``postmeter top``, and what a key changes of it; pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Final

from config.registration import APP
from config.values import SYSTEM
from worker.outcome import TargetKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.telemetry.board import Board, Scope


class Order(Enum):
    """By what the limits are sorted."""

    URGENT = "most used first"
    WAITING = "most waiting first"
    NAME = "by name"


QUIT_KEYS: Final = frozenset({"q", "Q"})
_EVERYBODYS: Final = frozenset({TargetKind.ALL, TargetKind.SERVER})
"""What a hold stands on that keeps the mail of any company."""


@dataclass(frozen=True, slots=True)
class Looking:
    """What is shown, and how.

    Attributes:
        company: the only one that is shown; None for all.
        paused: whether the figures stand still.
        help: whether the keys are explained instead.
    """

    company: str | None = None
    order: Order = Order.URGENT
    paused: bool = False
    help: bool = False

    def after(self, key: str, companies: Sequence[str]) -> Looking:
        """What is shown after a key; one that means nothing changes nothing."""
        if self.help:
            return replace(self, help=False)
        orders = list(Order)
        changed: Looking = self
        match key:
            case "?" | "h":
                changed = replace(self, help=True)
            case "p" | " ":
                changed = replace(self, paused=not self.paused)
            case "s":
                order = orders[(orders.index(self.order) + 1) % len(orders)]
                changed = replace(self, order=order)
            case "c" | "right" | "C" | "left":
                back = key in {"C", "left"}
                changed = replace(self, company=_next(self.company, companies, back=back))
            case "a" | "escape":
                changed = replace(self, company=None)
        return changed

    def of(self, board: Board) -> Board:
        """What of a board is shown, in the order that was chosen."""
        if self.company is not None:
            board = only(board, self.company)
        if self.order is not Order.URGENT:
            by = _by_name if self.order is Order.NAME else _by_waiting
            board = replace(board, scopes=tuple(sorted(board.scopes, key=by)))
        return board


def _next(company: str | None, companies: Sequence[str], *, back: bool) -> str | None:
    """The next one to choose; after the last come all again."""
    choices = [None, *companies]
    at = choices.index(company) if company in choices else 0
    return choices[(at + (-1 if back else 1)) % len(choices)]


def _by_name(scope: Scope) -> str:
    return scope.id


def _by_waiting(scope: Scope) -> tuple[int, str]:
    return -scope.waiting, scope.id


def companies_of(board: Board) -> list[str]:
    """Every company that a board tells of, the one with the most waiting first."""
    counts: Counter[str] = Counter({line.company: 0 for line in board.lines})
    for line in board.lines:
        counts[line.company] += line.jobs
    named = [*(scope.id for scope in board.scopes), *(day.id for day in board.days)]
    found = [company for company in map(company_of_scope, named) if company]
    for company, _ in (*board.dead, *board.unknown, *board.settings_errors):
        found.append(company)
    counts.update(dict.fromkeys(found, 0))
    return sorted(counts, key=lambda company: (-counts[company], company))


def company_of_scope(scope: str) -> str:
    """Whose a scope is: ``acme`` of ``mailbox:acme/jane:day``; nobody's is the ceiling."""
    kind, _, key = scope.partition(":")
    if kind == "system":
        return SYSTEM
    return key.partition("/")[0].partition(":")[0] if kind != "all" else ""


def only(board: Board, company: str) -> Board:
    """What of a board concerns one company's mail."""

    def concerned(scope: str) -> bool:
        return company_of_scope(scope) in {company, ""}

    return replace(
        board,
        scopes=tuple(scope for scope in board.scopes if concerned(scope.id)),
        days=tuple(day for day in board.days if concerned(day.id)),
        lines=tuple(line for line in board.lines if line.company == company),
        holds=tuple(hold for hold in board.holds if _is_held(hold.target, company)),
        oldest_due_at=None,
        in_hand=0,
        dead=tuple(each for each in board.dead if each[0] == company),
        unknown=tuple(each for each in board.unknown if each[0] == company),
        settings_errors=tuple(each for each in board.settings_errors if each[0] == company),
    )


def _is_held(target: str, company: str) -> bool:
    """Whether a hold keeps a company's mail; a credential of an app may be anybody's."""
    kind, _, key = target.partition(":")
    if kind == TargetKind.SCOPE:
        return company_of_scope(key) in {company, ""}
    if kind == TargetKind.SYSTEM:
        return company == SYSTEM
    whose = key.partition("/")[0].partition(":")[0]
    return kind in _EVERYBODYS or whose in {company, APP}


__all__ = ["QUIT_KEYS", "Looking", "Order", "companies_of", "company_of_scope", "only"]
