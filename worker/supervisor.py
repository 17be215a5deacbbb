"""Keeps worker processes running: forks them, restarts them, ends them.

The parent has no threads and no connections. It imports what the children need, so that a restart
costs a fork and not an import, and sleeps until a signal comes or something is due.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import logging
import os
import signal
import sys
import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from worker.notify import READY, notifier, stopping
from worker.signals import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.notify import Notify

    Log = Callable[..., object]
    """Writes one line: a sentence, and its facts as keyword arguments."""

#: Asks a worker process to cut short what is in flight; whoever stops services may send SIGTERM
#: twice (systemd to the whole group, the supervisor to each child) without meaning this.
HASTEN: Final = signal.SIGUSR1
EXIT_UNUSABLE: Final = 2
QUICK_DEATH_SECONDS: Final = 1.0
LONGEST_DELAY_SECONDS: Final = 5.0
MARGIN_SECONDS: Final = 5.0
_QUICK_DEATHS_FORGIVEN: Final = 3
_IDLE_SECONDS: Final = 3600.0
_HANDLED: Final = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT)
_PR_SET_PDEATHSIG: Final = 1
_LAST_SECONDS: Final = 5.0
"""After grace and margin: for the killing, and for this process to end."""


def restart_delay_seconds(quick_deaths: int) -> float:
    """How long to wait before the next start, after so many deaths in a row within a second."""
    if quick_deaths < _QUICK_DEATHS_FORGIVEN:
        return 0.0
    return min(LONGEST_DELAY_SECONDS, 0.1 * 2.0 ** min(quick_deaths - _QUICK_DEATHS_FORGIVEN, 10))


@dataclass(slots=True)
class _Place:
    """One of the N processes; ``pid`` is None between a death and the next start."""

    index: int
    pid: int | None = None
    started_at: float = 0.0
    start_at: float = 0.0
    quick_deaths: int = 0
    starts: int = 0


class Supervisor:
    """Runs ``run(index)`` in each of N child processes until told to stop.

    A child that ends is started again: at once, and only after it lived less than a second several
    times in a row with growing pauses. A child that exits 2 (settings or ledger unusable) ends all
    with 2, for no restart can mend that. SIGTERM and SIGINT ask the children to stop, a second one
    hastens them; what lives after grace and margin is killed. Should the parent itself be killed,
    the kernel sends its children SIGTERM.
    """

    def __init__(
        self,
        processes: int,
        run: Callable[[int], int],
        *,
        grace_seconds: float = 30.0,
        margin_seconds: float = MARGIN_SECONDS,
        preload: Sequence[str] = (),
        log: Log,
        notify: Notify | None = None,
    ) -> None:
        if processes < 1:
            raise ValueError(f"{processes} worker processes: at least 1 is needed")
        self._places = [_Place(index) for index in range(processes)]
        self._run = run
        self._grace_seconds = grace_seconds
        self._margin_seconds = margin_seconds
        self._preload = tuple(preload)
        self._log = log
        self._notify = notify or notifier(None)
        self._parent = os.getpid()
        self._stop_by: float | None = None
        self._code = 0

    def run(self) -> int:
        """Supervise until every child has ended; 0 if all ended well, else 1 or 2."""
        for name in self._preload:
            importlib.import_module(name)
        gc.collect()
        gc.freeze()  # what children share with their parent is not copied by their collector
        self._parent = os.getpid()
        previous = signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
        try:
            self._start_due()
            self._notify(READY)
            while any(place.pid is not None for place in self._places) or self._stop_by is None:
                self._wait()
                self._reap()
                self._start_due()
            return self._code
        finally:
            self._kill_all()
            signal.pthread_sigmask(signal.SIG_SETMASK, previous)

    def is_restart(self, index: int) -> bool:
        """Whether a child was started in place of one that died; for the child itself to ask."""
        return self._places[index].starts > 1

    def _wait(self) -> None:
        """Sleep until a signal comes or something is due."""
        now = time.monotonic()
        due = [place.start_at for place in self._places if place.pid is None]
        if self._stop_by is not None:
            due = [self._stop_by]
        timeout = max(0.0, min((at - now for at in due), default=_IDLE_SECONDS))
        received = wait_for(_HANDLED, timeout)
        if received is not None and received != signal.SIGCHLD:
            self._asked_to_stop()
        elif received is None and self._stop_by is not None and time.monotonic() >= self._stop_by:
            self._log("worker processes did not end in time and are killed", pids=self._pids())
            self._code = self._code or 1
            self._kill_all()

    def _asked_to_stop(self) -> None:
        if self._stop_by is None:
            self._log("stopping worker processes", grace_seconds=self._grace_seconds)
            self._stop(self._grace_seconds + self._margin_seconds)
        else:
            self._log("stopping worker processes at once")
            self._stop_by = min(self._stop_by, time.monotonic() + self._margin_seconds)
            self._signal(HASTEN)

    def _stop(self, within_seconds: float) -> None:
        self._stop_by = time.monotonic() + within_seconds
        self._notify(stopping(within_seconds + _LAST_SECONDS))
        self._signal(signal.SIGTERM)

    def _reap(self) -> None:
        """Collect every child that ended: one SIGCHLD may stand for several."""
        for place in self._places:
            if place.pid is None:
                continue
            pid, status = os.waitpid(place.pid, os.WNOHANG)
            if pid:
                place.pid = None
                self._ended(place, pid, os.waitstatus_to_exitcode(status))

    def _ended(self, place: _Place, pid: int, code: int) -> None:
        now = time.monotonic()
        if self._stop_by is not None:
            # Ended by the SIGTERM itself: it had not begun to work.
            if code not in (0, -signal.SIGTERM):
                self._log("a worker process ended badly", index=place.index, pid=pid, code=code)
                self._code = self._code or 1
            return
        if code == EXIT_UNUSABLE:
            self._log("a worker process cannot work with what it is given", pid=pid, code=code)
            self._code = EXIT_UNUSABLE
            self._stop(self._grace_seconds + self._margin_seconds)
            return
        quick = now - place.started_at < QUICK_DEATH_SECONDS
        place.quick_deaths = place.quick_deaths + 1 if quick else 0
        delay = restart_delay_seconds(place.quick_deaths)
        place.start_at = now + delay
        self._log(
            "a worker process died and is restarted",
            index=place.index,
            pid=pid,
            code=code,
            delay_seconds=delay,
        )

    def _start_due(self) -> None:
        for place in self._places:
            if place.pid is None and self._stop_by is None and place.start_at <= time.monotonic():
                self._start(place)

    def _start(self, place: _Place) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        place.started_at = time.monotonic()
        place.starts += 1
        pid = os.fork()
        if pid == 0:
            os._exit(self._child(place.index))
        place.pid = pid
        self._log("started a worker process", index=place.index, pid=pid)

    def _child(self, index: int) -> int:
        """Everything a child does; returns its exit code."""
        code = 1
        try:
            _die_with_parent(self._parent)
            # A terminal sends SIGINT to the whole group; the parent passes it on as SIGTERM.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
            code = self._run(index)
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else int(error.code is not None)
            if isinstance(error.code, str):
                sys.stderr.write(f"{error.code}\n")
        except BaseException:  # noqa: BLE001 the process ends here, and says why
            traceback.print_exc()
        finally:
            logging.shutdown()
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
        return code

    def _pids(self) -> list[int]:
        return [place.pid for place in self._places if place.pid is not None]

    def _signal(self, number: signal.Signals) -> None:
        for pid in self._pids():
            os.kill(pid, number)  # not reaped yet, so the id is still the child's own

    def _kill_all(self) -> None:
        self._signal(signal.SIGKILL)
        for place in self._places:
            if place.pid is not None:
                os.waitpid(place.pid, 0)
                place.pid = None


def _die_with_parent(parent: int) -> None:
    """Let the kernel send SIGTERM when the parent ends, however it ends (Linux, prctl(2))."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)  # it ended before the kernel knew
