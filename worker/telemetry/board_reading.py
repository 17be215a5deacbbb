"""Reads how things stand from the ledger: for metrics, the status page and ``postmeter top``.

A command makes one ``BoardReader`` and asks it for one board after another: what servers have
accepted is then read on from where the last board ended, and not again. The process that serves
metrics does the same with what it reads anyway (``sampler.Sampler.board``).
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Final, NamedTuple

from config.settings import ContextState, Settings
from config.values import SYSTEM
from worker.ledger import figures, overview
from worker.ledger.openings import openings_of
from worker.ledger.uses import uses_of
from worker.pace import WINDOW_SECONDS
from worker.telemetry.acceptances import Acceptances
from worker.telemetry.board import HOUR_MINUTES
from worker.telemetry.board_making import make_board
from worker.telemetry.drain import limits_over
from worker.telemetry.rules import Rules
from worker.telemetry.standing import Waiting, waiting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from worker.ledger.clock import Now
    from worker.ledger.overview import WorkerRecord
    from worker.ledger.rows import State
    from worker.telemetry.board import Board
    from worker.telemetry.last_hour import Reader

FIRST_FILL_SECONDS: Final = 2.0
"""How long a command's first look may go back into the last hour; the next ones go on."""


class Standing(NamedTuple):
    """What the ledger says at a scrape, and what it comes to.

    Attributes:
        days_used: by the scope of a day's limit, which share of it is used up.
        unknown: by the company's label, how many unknown jobs only a person can decide.
    """

    waiting: Waiting
    backlog: figures.Backlog
    days_used: Mapping[str, float]
    unknown: Mapping[str, int]


class _Look(NamedTuple):
    """What one board takes of the ledger, but for what was accepted."""

    now: Now
    standing: Standing
    workers: list[WorkerRecord]
    others: Mapping[str, Mapping[State, int]]


def read_standing(connection: Connection, now: Now, *, rules: Rules) -> Standing:
    """Read what waits and what is held, how its limits stand, and what that comes to."""
    backlog = figures.backlog(connection, now)
    openings = openings_of(connection, now, limits_over(backlog.lines, rules))
    found = waiting(backlog.lines, rules, backlog.holds, openings, now.wall)
    days = [limit for limit in rules.limits.values() if limit.per == "day"]
    uses = uses_of(connection, now, days)
    used = {limit.scope: uses[limit.scope].held / limit.limit for limit in days}
    unknown: Counter[str] = Counter()
    for company, jobs in backlog.unknown.items():
        unknown[rules.label(company)] += jobs
    return Standing(found, backlog, used, unknown)


class BoardReader:
    """Reads one board after another.

    Args:
        window_seconds: how long a slot rests; a minute but in tests.
    """

    def __init__(self, window_seconds: float = WINDOW_SECONDS) -> None:
        self._window_seconds = window_seconds
        self._version = version("postmeter")
        self._accepted = Acceptances(window_seconds, HOUR_MINUTES * window_seconds)
        self._settings: Settings | None = None
        self._rules: Rules | None = None
        self._is_first = True

    def read(self, ledger: Reader, settings: Settings | None) -> Board:
        """Read how things stand now.

        Args:
            settings: those in force; None where this machine has none: then no limit is known, and
                every company is ``rules.UNKNOWN_COMPANY``.

        Raises:
            LedgerUnavailable: it cannot be read now; ask again.
        """
        rules = self._rules_of(settings)
        self._accepted.look(ledger, rules.scopes)
        if self._is_first:
            self._accepted.hour.fill(ledger, rules.scopes, FIRST_FILL_SECONDS)
            self._is_first = False
        look = ledger.read(partial(_look, rules=rules))
        return make_board(
            look.standing,
            rules,
            at=look.now.wall,
            version=self._version,
            workers=look.workers,
            others=look.others,
            windows=self._accepted.windows(rules.minute_scopes, look.now.steady),
            minutes=self._accepted.hour.minutes(look.now.steady),
            known_minutes=self._accepted.hour.known_minutes(look.now.steady),
            errors=count_errors(settings),
        )

    def _rules_of(self, settings: Settings | None) -> Rules:
        """The settings' limits; made anew only for other settings."""
        if self._rules is None or settings is not self._settings:
            found = settings or Settings({SYSTEM: ContextState(None)}, None)
            self._settings, self._rules = settings, Rules(found, self._window_seconds)
        return self._rules


def count_errors(settings: Settings | None) -> dict[str, int]:
    """How many errors the settings of each context have; one without any is not in it."""
    found = settings.errors_by_context() if settings else {}
    return {context: len(errors) for context, errors in found.items()}


def _look(connection: Connection, now: Now, *, rules: Rules) -> _Look:
    return _Look(
        now,
        read_standing(connection, now, rules=rules),
        overview.all_workers(connection, now),
        overview.others_by_company(connection),
    )
