"""Looks at ledger and settings again and again, so that metrics and health know how things stand."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING

from worker.errors import LedgerError
from worker.ledger import overview, workers
from worker.ledger.ledger import Ledger
from worker.telemetry.acceptances import Acceptances
from worker.telemetry.board import Board
from worker.telemetry.board_making import make_board
from worker.telemetry.board_reading import count_errors, read_standing
from worker.telemetry.kept import Kept
from worker.telemetry.rules import Rules

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from config.watcher import SettingsWatcher
    from worker.ledger.overview import WorkerRecord
    from worker.pace import Limit
    from worker.telemetry.board_reading import Standing

OPEN_AGAIN_SECONDS = 1.0
PROBE_SECONDS = 3.0
"""How often to look whether the ledger can be written; while it can't, at every tick."""


@dataclass(frozen=True, slots=True)
class Sample:
    """How things stand at one moment; ``standing`` is None while the ledger cannot be read.

    Attributes:
        windows: by scope, how many emails the window holds now, and at the worst so far.
        errors: by context, how many errors its settings have.
        credential_ends: when the credential of each app registration ends (Unix seconds), where that
            can be told.
        ledger_up: whether the ledger can be read and written.
    """

    limits: Mapping[str, Limit]
    windows: Mapping[str, tuple[int, int]]
    workers: list[WorkerRecord]
    standing: Standing | None
    loaded_at_seconds: float
    errors: Mapping[str, int] = field(default_factory=dict)
    credential_ends: Mapping[str, float] = field(default_factory=dict)
    ledger_up: bool = False


class Sampler:
    """Keeps count. ``tick`` is called every second by one thread, ``sample`` by any.

    A ledger that is away, or not made yet, is tried again; meanwhile ``trouble`` says why.

    Args:
        window_seconds: how long a slot rests; a minute but in tests.
        probe: tries to write to the ledger; says why it can't be written, or nothing.
        is_own: whether a worker, by its host and the name of its process, is one of this group's.
    """

    def __init__(
        self,
        ledger_url: str,
        watcher: SettingsWatcher,
        *,
        window_seconds: float = 60.0,
        probe: Callable[[], str] = str,
        is_own: Callable[[str, str], bool] = lambda _host, _process: True,
        open_ledger: Callable[[str], Ledger] = lambda url: Ledger(url, must_exist=True),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = ledger_url
        self._watcher = watcher
        self._window_seconds = window_seconds
        self._probe = probe
        self._is_own = is_own
        self._probe_at = 0.0
        self._unwritable = ""
        self._open = open_ledger
        self._clock = clock
        self._lock = threading.Lock()
        self._ledger: Ledger | None = None
        self._open_at = 0.0
        self._rules = Rules(watcher.current, window_seconds)
        self._seen = watcher.current
        self._accepted = Acceptances(window_seconds)
        self._kept = Kept["Standing"](clock)
        self._kept_board = Kept[Board](clock)
        self._last_board = Board(time.time(), version("postmeter"), "away")
        self.workers: list[WorkerRecord] = []
        self.own: list[WorkerRecord] = []
        self.trouble = "the ledger was not looked at yet"
        self.ticked_at = clock()

    def tick(self) -> None:
        """Look at what changes from second to second."""
        self._watcher.poll()
        if self._watcher.current is not self._seen:
            self._seen = self._watcher.current
            self._rules = Rules(self._seen, self._window_seconds)
        try:
            ledger = self._opened()
            if ledger is not None:
                with self._lock:
                    self._accepted.look(ledger, self._rules.scopes)
                self.workers = ledger.read(overview.all_workers)
                named = ledger.read(lambda c, _: workers.processes(c))
                self.own = [w for w in self.workers if self._is_own(w.host, named.get(w.id, ""))]
                self.trouble = self._write_trouble()
                if "readonly" in self.trouble:
                    self.close()  # SQLite finds that out when it opens the file, and keeps to it
        except LedgerError as error:
            self.trouble = str(error)
        self.ticked_at = self._clock()

    def sample(self) -> Sample:
        """How things stand now."""
        rules = self._rules
        with self._lock:
            ledger = self._ledger
            standing = self._standing(ledger, rules) if ledger is not None else None
            now = ledger.now().steady if ledger is not None else 0.0
            windows = self._accepted.windows(rules.minute_scopes, now)
        return Sample(
            limits=rules.limits,
            windows=windows if standing is not None else {},
            workers=self.workers,
            standing=standing,
            loaded_at_seconds=self._watcher.loaded_at_seconds,
            errors=count_errors(self._seen),
            credential_ends=rules.credential_ends,
            ledger_up=standing is not None and not self.trouble,
        )

    @property
    def lanes(self) -> frozenset[tuple[str, str, str]]:
        """What mail the settings in force know: (kind, transport, company)."""
        return self._rules.lanes

    def board(self) -> Board:
        """How things stand now, for a person; while the ledger is away, how they stood last."""
        return self._kept_board.ask(self._new_board)

    def _new_board(self) -> Board:
        sample = self.sample()
        with self._lock:
            found = self._read_board(self._ledger, sample)
            if found is None:
                errors = tuple(sorted(sample.errors.items()))
                return replace(self._last_board, trouble="away", settings_errors=errors)
            self._last_board = found
        return found

    def _read_board(self, ledger: Ledger | None, sample: Sample) -> Board | None:
        """The rest of what a board needs, and all of it put together; None without a ledger."""
        if ledger is None or sample.standing is None:
            return None
        now = ledger.now()
        try:
            others = ledger.read(lambda c, _: overview.others_by_company(c))
        except LedgerError as error:
            self.trouble = str(error)
            return None
        return make_board(
            sample.standing,
            self._rules,
            at=now.wall,
            version=self._last_board.version,
            workers=sample.workers,
            others=others,
            windows=sample.windows,
            minutes=self._accepted.hour.minutes(now.steady),
            known_minutes=self._accepted.hour.known_minutes(now.steady),
            errors=sample.errors,
            trouble="read-only" if self.trouble else "",
        )

    def close(self) -> None:
        """Close the ledger; safe to call twice."""
        with self._lock:
            if self._ledger is not None:
                self._ledger.close()
                self._ledger = None

    def _write_trouble(self) -> str:
        """Why workers can't write to a ledger that can be read (full, locked), or nothing."""
        if self._clock() >= self._probe_at:
            self._unwritable = self._probe()
            self._probe_at = self._clock() + (0.0 if self._unwritable else PROBE_SECONDS)
        return self._unwritable

    def _opened(self) -> Ledger | None:
        """The ledger; None until it is time to try to open it again."""
        if self._ledger is None and self._clock() >= self._open_at:
            self._open_at = self._clock() + OPEN_AGAIN_SECONDS
            self._ledger = self._open(self._url)
        return self._ledger

    def _standing(self, ledger: Ledger, rules: Rules) -> Standing | None:
        """What waits, dead letters, holds: read at a scrape, and kept for a while."""
        try:
            return self._kept.ask(lambda: ledger.read(partial(read_standing, rules=rules)))
        except LedgerError as error:
            self.trouble = str(error)
            return None
