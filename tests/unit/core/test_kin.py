"""Kin: a process that has surely ended, and everything of which that cannot be said."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from worker.kin import has_ended, is_sibling, name_of_this_process

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def child() -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A process that waits, and its name as it would write it."""
    program = (
        "import sys; from worker.kin import name_of_this_process as n;"
        " print(n(), flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdin is not None
    yield process, process.stdout.readline().decode().strip()
    process.stdin.close()
    process.stdout.close()
    process.kill()
    process.wait()


def test_this_process_has_not_ended() -> None:
    """Nobody buries itself."""
    assert not has_ended(name_of_this_process())


def test_a_killed_process_has_ended_even_before_it_is_waited_for(
    child: tuple[subprocess.Popen[bytes], str],
) -> None:
    """Alive, then killed: known at once, as a zombie too."""
    process, name = child
    assert not has_ended(name)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert has_ended(name)
    process.wait()
    assert has_ended(name)


def test_a_process_id_that_was_given_out_again_is_another_process() -> None:
    """The same id with another start is not the process that was named."""
    here, pid, since = name_of_this_process().split("|")
    assert has_ended(f"{here}|{pid}|{since}0")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "rubbish",
        "another-boot pid:[1]|1|x",
        "|1|x",
        f"{name_of_this_process().split('|')[0]}|no number|x",
        f"{name_of_this_process().split('|')[0]}||",
    ],
)
def test_of_a_name_from_elsewhere_nothing_is_known(name: str) -> None:
    """Another host, boot or namespace, or no name: only its heartbeat tells."""
    assert not has_ended(name)


def test_without_the_kernels_help_there_is_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host without /proc names nothing, and takes nobody for dead."""
    name = name_of_this_process()
    monkeypatch.setattr("worker.kin._here", lambda: "")
    assert name_of_this_process() == ""
    assert not has_ended(name)


def test_a_process_of_another_parent_is_no_sibling(
    child: tuple[subprocess.Popen[bytes], str],
) -> None:
    """Of one parent are this process itself and its siblings; not its child, nor one that ended."""
    process, name = child
    assert is_sibling(name_of_this_process())
    assert not is_sibling(name)
    process.kill()
    process.wait()
    assert not is_sibling(name)


def test_processes_of_one_parent_are_siblings(
    child: tuple[subprocess.Popen[bytes], str],
) -> None:
    """Asked by another child of the same parent, the process is one of its own."""
    program = "import sys; from worker.kin import is_sibling as i; print(i(sys.argv[1]))"
    asked = subprocess.run(
        [sys.executable, "-c", program, child[1]], stdout=subprocess.PIPE, text=True, check=True
    )
    assert asked.stdout == "True\n"
