"""What becomes of waiting lines that no settings serve: they are told why, and end some day.

The pump only notes such a line; what there is to say is said in rounds beside it, for many lines
at a time. A round that has nothing new to say costs one query, however many lines there are.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

from config.errors import ConfigError, UnknownCompany, UnknownUser
from worker.faults import in_words
from worker.ledger import unserved
from worker.ledger.newcomers import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sqlalchemy import Connection

    from config.effective import EffectiveSettings
    from worker.ledger.clock import Now
    from worker.ledger.lanes import Lane
    from worker.ledger.ledger import Ledger

WAIT_FOR_SETTINGS_SECONDS = 15 * 60.0
"""Settings follow the application in every real roll-out, so an unknown company waits this long."""
FORGET_SECONDS = 60.0
"""A line that the pump has not met for so long has nothing due any more."""
FROM_THE_HEAD_SECONDS = 60.0
"""How soon a line may be walked anew, one of them a round: for what came in before its place."""
LINES_AT_ONCE = 64
JOBS_AT_ONCE = 1_000
"""How many lines, and jobs in them, one transaction walks at the most or little beyond: nobody can
begin, settle or show that it lives meanwhile."""
WALKS_A_ROUND = 8
NOWHERE = unserved.Places()
LOOKED_AT_A_ROUND = 200
"""How many lines one query asks for news."""


@dataclass(frozen=True, slots=True)
class _Told:
    """What a line was told, how far it came, since when it is through, and how old its oldest is."""

    reason: str
    unknown: bool
    places: unserved.Places = NOWHERE
    through_at: float | None = None
    oldest_at: float | None = None

    def is_over(self, before: float) -> bool:
        """Whether somebody has waited for unknown settings since before that time (Unix seconds)."""
        return self.unknown and self.oldest_at is not None and self.oldest_at <= before


class Explainer:
    """Writes on waiting jobs why they wait, and ends the wait for settings that never came.

    Args:
        resolve: the settings in force for company, user and kind; raises ConfigError.
        tell_of: told the ids of jobs whose wait has ended.
    """

    def __init__(
        self,
        ledger: Ledger,
        resolve: Callable[[str | None, str | None, str], EffectiveSettings],
        tell_of: Callable[[Iterable[str]], None],
        *,
        wait_seconds: float = WAIT_FOR_SETTINGS_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._resolve = resolve
        self._tell_of = tell_of
        self._wait_seconds = wait_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._met: dict[Lane, float] = {}
        self._told: dict[Lane, _Told] = {}
        self._turn = 0

    def note(self, lane: Lane) -> None:
        """Note a line that the pump met and could not serve; from any thread, at no cost."""
        with self._lock:
            self._met[lane] = self._clock()

    def work(self) -> None:
        """Do one round: look for news, tell what is to be told. Blocks: call it in a thread.

        Raises:
            LedgerUnavailable: the ledger is away.
        """
        self._take_stock()
        to_walk = dict.fromkeys(self._unfinished())
        to_walk.update(dict.fromkeys(self._with_news()))
        for _ in range(WALKS_A_ROUND):
            lines = list(islice(to_walk, LINES_AT_ONCE))
            if not lines:
                break
            for lane in self._walk(lines):
                del to_walk[lane]

    def _take_stock(self) -> None:
        """Ask the settings again about each line, and drop those that are served or empty."""
        since = self._clock() - FORGET_SECONDS
        with self._lock:
            self._met = {lane: at for lane, at in self._met.items() if at >= since}
            met = list(self._met)
        told: dict[Lane, _Told] = {}
        for lane in met:
            fresh = self._why(lane)
            if fresh is None:
                continue
            known = self._told.get(lane)
            same = known is not None and known.reason == fresh.reason
            told[lane] = replace(known, unknown=fresh.unknown) if same and known else fresh
        self._told = told

    def _why(self, lane: Lane) -> _Told | None:
        """Why a line is not served, or None where it is now."""
        company = None if lane.company == SYSTEM else lane.company
        try:
            held = self._resolve(company, lane.user or None, lane.kind).held_reason
        except ConfigError as error:
            return _Told(str(error), isinstance(error, UnknownCompany | UnknownUser))
        except Exception as fault:  # noqa: BLE001 - the pump has logged it; other lines are told too
            return _Told(in_words(fault), unknown=False)
        return None if held is None else _Told(held, unknown=False)

    def _unfinished(self) -> list[Lane]:
        """The lines that are not told yet, or whose oldest job has waited long enough."""
        before = self._before()
        return [
            lane
            for lane, told in self._told.items()
            if told.through_at is None or told.is_over(before)
        ]

    def _with_news(self) -> list[Lane]:
        """Of some lines, in turn, those where something came in, and one to be walked anew."""
        lanes = [lane for lane, told in self._told.items() if told.through_at is not None]
        if not lanes:
            return []
        first, self._turn = self._turn % len(lanes), self._turn + LOOKED_AT_A_ROUND
        asked = (lanes[first:] + lanes[:first])[:LOOKED_AT_A_ROUND]
        reached = {lane: self._told[lane].places for lane in asked}
        news = self._ledger.read(lambda c, now: unserved.with_news(c, now, reached))
        stalest = min(asked, key=lambda lane: self._told[lane].through_at or 0.0)
        told = self._told[stalest]
        if self._clock() - (told.through_at or 0.0) > FROM_THE_HEAD_SECONDS:
            self._told[stalest] = replace(told, places=NOWHERE)
            news.append(stalest)
        return news

    def _walk(self, lanes: Sequence[Lane]) -> list[Lane]:
        """Walk some lines a step in one transaction; those that are through."""
        started = self._clock()

        def operation(connection: Connection, now: Now) -> list[tuple[_Told, list[str]]]:
            found: list[tuple[_Told, list[str]]] = []
            jobs = 0
            for lane in lanes:
                told, ended, looked_at = self._step(connection, now, lane, started)
                found.append((told, ended))
                jobs += looked_at + len(ended)
                if jobs >= JOBS_AT_ONCE:
                    break
            return found

        through = []
        for lane, (told, ended) in zip(lanes, self._ledger.call(operation), strict=False):
            self._told[lane] = told
            self._tell_of(ended)
            if told.through_at is not None and not told.is_over(self._before()):
                through.append(lane)
        return through

    def _step(
        self, connection: Connection, now: Now, lane: Lane, started: float
    ) -> tuple[_Told, list[str], int]:
        """Tell some of a line; end what has waited too long.

        What it then was told, who ended, and how many jobs were looked at.
        """
        told = self._told[lane]
        walked = unserved.walk(connection, now, lane, told.reason, told.places)
        known = [at for at in (told.oldest_at, walked.oldest_at) if at is not None]
        told = replace(
            told,
            places=walked.places,
            oldest_at=min(known, default=None),
            through_at=None if walked.more else started,
        )
        if not told.is_over(now.wall - self._wait_seconds):
            return told, [], walked.looked_at
        ended = unserved.end_old(
            connection,
            now,
            lane,
            f"{told.reason}; it did not come within {self._wait_seconds:.0f} s",
            older_than_seconds=self._wait_seconds,
        )
        return replace(told, oldest_at=ended.oldest_at), ended.job_ids, walked.looked_at

    def _before(self) -> float:
        """Who waits since before that time (Unix seconds) has waited long enough."""
        return self._ledger.now().wall - self._wait_seconds
