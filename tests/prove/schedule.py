"""Commands that run several at once within a budget: each row of the proof is a process."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path


class Costly(Protocol):
    """What can be scheduled."""

    @property
    def name(self) -> str:
        """A name for its files."""
        ...

    @property
    def cost(self) -> int:
        """How much of the budget it takes while it runs."""
        ...


One = TypeVar("One", bound=Costly)
_LOOK_SECONDS = 0.2


def next_to_start(waiting: Sequence[One], spent: int, budget: int) -> One | None:
    """The dearest that fits beside what runs; alone, one that is dearer than all of the budget."""
    fitting = [one for one in waiting if spent + one.cost <= budget or not spent]
    return max(fitting, key=lambda one: one.cost, default=None)


@dataclass(slots=True)
class Running:
    """One command that runs, with the files it writes to."""

    process: subprocess.Popen[bytes]
    output: Path
    log: Path

    def end(self) -> None:
        """Ask it to clean up and end; wait until it has."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(60.0)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@dataclass(slots=True)
class Schedule:
    """Runs commands, the dearest first, never more than the budget at once.

    Args:
        folder: where what they write is kept.
        command: the command of one.
        started: told of each that starts.
    """

    folder: Path
    budget: int
    most: int
    command: Callable[[Costly], Sequence[str]]
    started: Callable[[str], None]
    _running: dict[str, Running] = field(default_factory=dict)

    def run(self, waiting: Sequence[One]) -> Iterator[tuple[One, str, str]]:
        """Run them all; yields each as it ends, with its output and the path of its log.

        Whatever ends the loop early, such as Ctrl-C, ends what still runs.
        """
        left = list(waiting)
        going: dict[str, One] = {}
        try:
            while left or going:
                spent = sum(one.cost for one in going.values())
                one = next_to_start(left, spent, self.budget) if len(going) < self.most else None
                if one is not None:
                    left.remove(one)
                    going[one.name] = one
                    self._start(one)
                    continue
                time.sleep(_LOOK_SECONDS)
                for name in [n for n, r in self._running.items() if r.process.poll() is not None]:
                    ended = self._running.pop(name)
                    yield going.pop(name), ended.output.read_text("utf-8"), str(ended.log)
        finally:
            for running in self._running.values():
                running.end()

    def _start(self, one: Costly) -> None:
        output = self.folder / f"{one.name}.out"
        log = self.folder / f"{one.name}.log"
        with output.open("wb") as out, log.open("wb") as err:
            process = subprocess.Popen(
                self.command(one),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,  # Ctrl-C is passed on in order
            )
        self._running[one.name] = Running(process, output, log)
        self.started(one.name)


__all__ = ["Costly", "Schedule", "next_to_start"]
