"""A test that fails beside others gets one more run, alone, and never hides."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SUITES = Path(__file__).parents[1] / "support" / "suites.py"
FLAKY = """
from pathlib import Path

def test_flaky():
    seen = Path(__file__).with_suffix(".seen")
    first = not seen.exists()
    seen.touch()
    assert not first

def test_good():
    assert True
"""
BROKEN = """
import pytest

@pytest.mark.parametrize("number", range({count}))
def test_broken(number):
    assert number < 0
"""


def run(folder: Path, source: str) -> tuple[int, list[str]]:
    """Run the suites over one file; the exit code and what was printed."""
    (folder / "test_it.py").write_text(source)
    done = subprocess.run(
        [sys.executable, str(SUITES), "2", "-q", "test_it.py"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout.splitlines()


def test_what_passes_alone_is_named_last(tmp_path: Path) -> None:
    """Both runs are printed, the exit code is 0, and the last line names the test."""
    code, lines = run(tmp_path, FLAKY)
    assert code == 0
    assert lines[-1] == "flaky (failed beside others, passed alone): test_it.py::test_flaky"
    assert any(line.startswith("1 failed, 1 passed") for line in lines)
    assert any(line.startswith("1 passed") for line in lines)


@pytest.mark.parametrize(("count", "runs"), [(5, 2), (6, 1)])
def test_what_fails_twice_fails_the_suites(tmp_path: Path, count: int, runs: int) -> None:
    """A broken test fails alone too; where more than five fail there is no second run."""
    code, lines = run(tmp_path, BROKEN.format(count=count))
    assert code == 1
    assert sum(line.startswith(f"{count} failed") for line in lines) == runs
    assert not any(line.startswith("flaky") for line in lines)


def test_what_cannot_be_collected_is_broken(tmp_path: Path) -> None:
    """A file that cannot be read as tests fails the suites, and is never called flaky."""
    code, lines = run(tmp_path, "import there_is_no_such_module\n")
    assert code not in {0, 5}
    assert not any(line.startswith("flaky") for line in lines)
