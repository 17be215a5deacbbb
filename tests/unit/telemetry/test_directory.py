"""Places: each living process has its own, and a dead one's is free at once."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from worker.telemetry.directory import VARIABLE, forget_dead, prepare_directory

if TYPE_CHECKING:
    from pathlib import Path

ASK = "import sys; from worker.telemetry.directory import take_place; print(take_place(), flush=True); sys.stdin.read()"


class Process:
    """A process that has a place until it is killed."""

    def __init__(self, directory: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", ASK],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, VARIABLE: str(directory)},
        )
        assert self._process.stdout is not None
        self.place = int(self._process.stdout.readline())

    def kill(self) -> None:
        """End it as a power cut would."""
        self._process.kill()
        self._process.communicate()


def test_places(tmp_path: Path) -> None:
    """Two processes have two places; after a SIGKILL the next process gets the free one."""
    directory = prepare_directory(tmp_path)
    first, second = Process(directory), Process(directory)
    assert (first.place, second.place) == (0, 1)
    (directory / "gauge_livesum_0.db").touch()
    (directory / "counter_0.db").touch()
    assert forget_dead(directory) == 2
    assert (directory / "gauge_livesum_0.db").exists()
    first.kill()
    assert forget_dead(directory) == 1
    assert not (directory / "gauge_livesum_0.db").exists()
    assert (directory / "counter_0.db").exists()
    third = Process(directory)
    assert third.place == 0
    for process in (second, third):
        process.kill()
    assert forget_dead(directory) == 0


def test_what_ended_workers_left_is_removed(tmp_path: Path) -> None:
    """A new start begins empty, and leaves a worker alone that still runs on the same state."""
    command = (
        "import sys, pathlib; from worker.telemetry.directory import prepare_directory;"
        "print(prepare_directory(pathlib.Path(sys.argv[1])), flush=True)"
    )
    left = subprocess.run(
        [sys.executable, "-c", command, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout.strip()
    mine = prepare_directory(tmp_path)
    other = prepare_directory(tmp_path)
    found = sorted((tmp_path / "metrics").glob("run-*"))
    assert found == sorted([mine, other])
    assert left not in map(str, found)
    assert not list(mine.glob("*.db"))
