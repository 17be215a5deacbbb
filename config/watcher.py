"""Settings that follow their files: read at the start, read again when something has changed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from config.compose import Memory, compose
from config.errors import NoSettings, Problem
from config.secret_files import signature
from config.sources import SYSTEM_FILE, Reading, Source
from config.values import ENVIRONMENT, SYSTEM

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from config.settings import Settings

PATHS_PER_POLL: Final = 1000
"""How many files one poll looks at: a few milliseconds. Of a larger tree each poll looks at the
next part, so an edit among 1,000 companies takes effect within seconds."""


class SettingsWatcher:
    """Holds the settings in force; the worker calls ``poll`` every second.

    There is no thread inside; one thread at a time may poll, while any may use ``current``. A poll
    that finds a change reads what has changed: half a second among 8,000 files, so a worker polls
    beside its event loop. Everything that the tree points at is watched by its signature: renames,
    ``git pull`` and Kubernetes' swap of ``..data`` are seen like an edit.

    Attributes:
        loaded_at_seconds: when the settings in force were read, seconds since the epoch.

    Args:
        root: the settings tree.
        environ: the variables of the process.
        secrets: the secrets directory, if there is one.
        clock: seconds since the epoch.

    Raises:
        NoSettings: there is no tree, or ``system.toml`` cannot be read.
    """

    def __init__(
        self,
        root: Path,
        environ: Mapping[str, str],
        *,
        secrets: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._source = Source(root, environ, secrets=secrets, clock=clock)
        reading = self._source.read()
        system = reading.layers[SYSTEM, None]
        if not system.readable:
            raise NoSettings(f"{root / SYSTEM_FILE}: {system.problems[0].what}")
        self._clock = clock
        self._paths: list[Path] = []
        self._next = 0
        self._take(reading, Memory())

    @property
    def current(self) -> Settings:
        """The settings in force now."""
        return self._current

    def poll(self) -> bool:
        """Look for changes, and read what has changed; says whether anything has.

        Errors never end the settings in force: they are in ``current.errors_by_context()``.
        """
        if not self._dirty():
            return False
        try:
            reading = self._source.read()
        except NoSettings as error:
            return self._report(str(error))
        if (
            reading.layers == self._reading.layers
            and reading.problems == self._reading.problems
            and self._reported is None
        ):
            self._watch(reading)
            return False
        self._take(reading, self._memory)
        return True

    def _dirty(self) -> bool:
        """Whether a path of the next part differs from what was read; the root is in each part."""
        count = len(self._paths)
        part = [self._paths[(self._next + i) % count] for i in range(min(PATHS_PER_POLL, count))]
        self._next = (self._next + len(part)) % count
        root = self._source.root
        watched = self._reading.watched
        return any(signature(path) != watched[path] for path in (root, root / SYSTEM_FILE, *part))

    def _take(self, reading: Reading, memory: Memory) -> None:
        self._readable, self._memory = compose(reading, memory)
        self._current = self._readable
        self._reported: str | None = None
        self.loaded_at_seconds = self._clock()
        self._watch(reading)

    def _watch(self, reading: Reading) -> None:
        self._reading = reading
        self._paths = list(reading.watched)

    def _report(self, what: str) -> bool:
        """Keep what is in force while the tree cannot be read, and say so once."""
        if self._reported == what:
            return False
        self._current = self._readable.with_problem(Problem(ENVIRONMENT, None, what, "", ""))
        self._reported = what
        return True
