"""The supervisor: children that die, stop, hang, and a parent that is killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from worker.supervisor import LONGEST_DELAY_SECONDS, Supervisor, restart_delay_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PROGRAM = """
import os, signal, sys, time
from worker.supervisor import HASTEN, Supervisor

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def work(index):
{body}

sys.exit(Supervisor({processes}, work, grace_seconds={grace}, margin_seconds={margin},
    preload=["json"], log=lambda event, **facts: say("#", event, facts)).run())
"""
_OBEDIENT = """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    say("up", index, os.getpid())
    time.sleep(3600)
"""


class Program:
    """A supervisor in a process of its own, and what it and its children say."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.said: list[str] = []
        assert process.stdout is not None
        self._output = process.stdout

    def hear(self, words: str, times: int = 1) -> list[str]:
        """Read until so many lines start with these words; those lines."""
        while len(found := [line for line in self.said if line.startswith(words)]) < times:
            line = self._output.readline()
            assert line, f"it ended, having said {self.said}"
            self.said.append(line.strip())
        return found

    def pids(self, times: int) -> list[int]:
        """The process ids of the children that came up so far, at least so many."""
        return [int(line.split()[2]) for line in self.hear("up", times)]

    def ask(self, number: signal.Signals) -> None:
        """Send a signal to the supervisor."""
        self.process.send_signal(number)

    def ends(self) -> int:
        """Wait for the end; the exit code."""
        return self.process.wait(10.0)


@contextlib.contextmanager
def _program(
    body: str = _OBEDIENT, *, processes: int = 2, grace: float = 5.0, margin: float = 2.0
) -> Iterator[Program]:
    source = _PROGRAM.format(body=body, processes=processes, grace=grace, margin=margin)
    with subprocess.Popen(
        [sys.executable, "-u", "-c", source], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Program(process)
        finally:
            process.kill()


def _until(condition: Callable[[], bool], timeout_seconds: float = 5.0) -> None:
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def _alive(pid: int) -> bool:
    """Whether a process runs; one that ended and waits for its parent does not."""
    try:
        with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123 /proc is no path of ours
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_pause_before_a_restart_grows_only_after_several_quick_deaths() -> None:
    """One crash costs nothing; a child that cannot start is not started in a tight loop."""
    assert [restart_delay_seconds(n) for n in range(5)] == [0.0, 0.0, 0.0, 0.1, 0.2]
    assert restart_delay_seconds(50) == LONGEST_DELAY_SECONDS


def test_no_processes_is_a_mistake() -> None:
    """Zero would be a service that does nothing."""

    def log(_event: str, **_facts: object) -> None:
        """Say nothing."""

    with pytest.raises(ValueError, match="at least 1"):
        Supervisor(0, lambda _index: 0, log=log)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_it_ends_its_children_and_exits_0(number: signal.Signals) -> None:
    """Both signals mean the same, and no child is left."""
    with _program() as program:
        pids = program.pids(2)
        program.ask(number)
        assert program.ends() == 0
        assert not any(_alive(pid) for pid in pids)


def test_a_killed_child_is_replaced_at_once() -> None:
    """A restart is a fork: the next child is up within moments, at the same index."""
    with _program() as program:
        pids = program.pids(2)
        killed = time.monotonic()
        os.kill(pids[0], signal.SIGKILL)
        again = program.pids(3)
        assert time.monotonic() - killed < 1.0
        assert program.hear("up", 3)[-1].split()[1] == program.hear("up", 3)[0].split()[1]
        assert len(set(again)) == 3
        assert not _alive(pids[0])
        assert not os.path.exists(f"/proc/{pids[0]}")  # noqa: PTH110 reaped, not a zombie
        program.ask(signal.SIGTERM)
        assert program.ends() == 0


def test_a_child_knows_whether_it_is_a_restart() -> None:
    """One started in place of another does, its neighbour does not: so restarts are counted."""
    seen: list[tuple[int, bool]] = []

    def work(index: int) -> int:
        again = supervisor.is_restart(index)
        os.write(write, bytes([index, again]))
        return 2 if again else index

    read, write = os.pipe()
    supervisor = Supervisor(1, work, log=lambda _event, **_facts: None)
    try:
        assert supervisor.run() == 2
        told = os.read(read, 10)
    finally:
        os.close(read)
        os.close(write)
    seen = [(told[at], bool(told[at + 1])) for at in range(0, len(told), 2)]
    assert seen == [(0, False), (0, True)]


def test_a_child_that_ends_by_itself_is_replaced_too() -> None:
    """A worker has no reason to end unasked, whatever its exit code says."""
    body = """
    say("up", index, os.getpid())
    time.sleep(0.01)
    return 0
"""
    with _program(body, processes=1) as program:
        assert len(program.pids(4)) >= 4
        program.ask(signal.SIGTERM)
        assert program.ends() == 0


def test_a_child_with_unusable_settings_ends_all_with_2() -> None:
    """No restart mends settings: the others stop politely, and the code is passed on."""
    body = """
    if index == 1:
        return 2
    signal.signal(signal.SIGTERM, lambda *_: (say("polite"), sys.exit(0)))
    time.sleep(3600)
"""
    with _program(body) as program:
        assert program.ends() == 2


def test_a_child_that_raises_says_why_and_is_replaced() -> None:
    """An exception is printed once and counts as a death."""
    body = """
    say("up", index, os.getpid())
    raise SystemExit("broken") if index else KeyError("broken")
"""
    with _program(body) as program:
        assert len(program.pids(4)) >= 4
        died = program.hear("# a worker process died", 2)
        assert all("'code': 1" in line for line in died)
        program.ask(signal.SIGTERM)
        assert program.ends() in {0, 1}  # 1 where a child died after the signal


def test_what_does_not_end_within_grace_and_margin_is_killed() -> None:
    """A hanging child delays the end no longer than promised, and the exit code tells."""
    body = """
    signal.signal(signal.SIGTERM, lambda *_: None)
    say("up", index, os.getpid())
    while True:
        time.sleep(3600)
"""
    with _program(body, grace=0.2, margin=0.2) as program:
        pids = program.pids(2)
        asked = time.monotonic()
        program.ask(signal.SIGTERM)
        assert program.ends() == 1
        assert 0.4 <= time.monotonic() - asked < 3.0
        assert not any(_alive(pid) for pid in pids)


def test_a_frozen_child_is_killed_as_well() -> None:
    """SIGSTOP is no way to outlive the supervisor."""
    with _program(grace=0.2, margin=0.2) as program:
        pids = program.pids(2)
        os.kill(pids[0], signal.SIGSTOP)
        program.ask(signal.SIGTERM)
        assert program.ends() == 1
        assert not any(_alive(pid) for pid in pids)


def test_a_second_signal_hastens() -> None:
    """The first SIGTERM asks, the second tells the children to cut short what is in flight."""
    body = """
    signal.signal(signal.SIGTERM, lambda *_: say("asked"))
    signal.signal(HASTEN, lambda *_: (say("hastened"), sys.exit(0)))
    say("up", index, os.getpid())
    while True:
        time.sleep(3600)
"""
    with _program(body, grace=60.0) as program:
        program.pids(2)
        program.ask(signal.SIGTERM)
        program.hear("asked", 2)
        program.ask(signal.SIGTERM)
        program.hear("hastened", 2)
        assert program.ends() == 0


def test_ctrl_c_reaches_children_once() -> None:
    """A terminal sends SIGINT to the whole group: children ignore it and get SIGTERM."""
    body = """
    signal.signal(signal.SIGTERM, lambda *_: (say("asked"), sys.exit(0)))
    say("up", index, os.getpid())
    time.sleep(3600)
"""
    with _program(body) as program:
        for pid in program.pids(2):
            os.kill(pid, signal.SIGINT)
        program.ask(signal.SIGINT)
        assert program.ends() == 0
        assert len(program.hear("asked", 2)) == 2


def test_children_end_when_their_parent_is_killed() -> None:
    """The kernel sends them SIGTERM: no worker is left without its supervisor."""
    with _program() as program:
        pids = program.pids(2)
        program.process.kill()
        program.process.wait(5.0)
        _until(lambda: not any(_alive(pid) for pid in pids))


def test_a_stop_during_the_pause_before_a_restart_ends_at_once() -> None:
    """No child lives then, and none is started any more."""
    body = """
    say("up", index, os.getpid())
    return 1
"""
    with _program(body, processes=1) as program:
        program.hear("# a worker process died", 6)
        program.ask(signal.SIGTERM)
        assert program.ends() == 0


def test_waiting_costs_no_processor_time() -> None:
    """The parent sleeps until something happens."""
    with _program() as program:
        program.pids(2)
        before = _processor_ticks(program.process.pid)
        time.sleep(1.0)
        assert _processor_ticks(program.process.pid) - before <= 1
        program.ask(signal.SIGTERM)
        assert program.ends() == 0


def _processor_ticks(pid: int) -> int:
    with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123 /proc is no path of ours
        fields = stat.read().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])
