"""Where the processes of one worker count, and which of them counts where.

Each counts in files of its own, named by its *place*: a number that it holds by a file lock for as
long as it lives. A process that is killed frees its place at once, and the next one goes on
counting in the same files; so counters never fall, and files never outnumber processes. This
module does not import prometheus_client, which must not be imported before the directory is set.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
"""The environment variable that tells prometheus_client the directory."""

_kept: list[int] = []
"""Locks of this process and its parent; they end with the process."""


_place = -1


def prepare_directory(state: Path) -> Path:
    """Make an empty directory for the processes that this one will start, and keep it as theirs.

    What workers that have ended left is removed: after a container's restart its counts would be
    taken for new ones. Another worker with the same state folder is left alone.
    """
    root = state / "metrics"
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (root / "lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        for old in root.glob("run-*"):
            lock = _try_lock(old / "owner.lock")
            if lock is not None:
                os.close(lock)
                shutil.rmtree(old)
        made = Path(tempfile.mkdtemp(prefix="run-", dir=root))
        lock = _try_lock(made / "owner.lock")
        assert lock is not None
        _kept.append(lock)
    return made


def take_place() -> int:
    """Hold the first place that no living process holds, until this process ends."""
    global _place  # noqa: PLW0603 - one process, one place; prometheus_client asks at each count
    directory = Path(os.environ[VARIABLE])
    for number in itertools.count():
        lock = _try_lock(directory / f"place-{number}.lock")
        if lock is not None:
            _kept.append(lock)
            _forget_gauges(directory, number)
            _place = number
            break
    return _place


def place() -> int:
    """The place that this process holds; -1 before it has taken one."""
    return _place


def forget_dead(directory: Path) -> int:
    """Drop what dead processes said of their present state; how many live ones there are.

    What they counted stays.
    """
    alive = 0
    for path in directory.glob("place-*.lock"):
        lock = _try_lock(path)
        if lock is None:
            alive += 1
        else:
            _forget_gauges(directory, int(path.stem.removeprefix("place-")))
            os.close(lock)
    return alive


def _forget_gauges(directory: Path, number: int) -> None:
    for path in directory.glob(f"gauge_live*_{number}.db"):
        path.unlink(missing_ok=True)


def _try_lock(path: Path) -> int | None:
    """Lock a file until the descriptor is closed, or None where another process has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
