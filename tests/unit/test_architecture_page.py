"""docs/architecture.md: every test that shows an invariant is there, and every invariant is shown."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import NamedTuple

import pytest

TESTS = Path(__file__).resolve().parents[1]
PAGE = TESTS.parent / "docs" / "architecture.md"
_NAMED = re.compile(r"`([\w/*]+\.py|chaos/)(?:::(\w+))?`")


class Shown(NamedTuple):
    """One test that an invariant names: a file, a pattern or a folder, and perhaps a function."""

    invariant: int
    path: str
    function: str


def shown() -> list[Shown]:
    """What the table names; a file without a folder is in the folder named before it."""
    found = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        number = re.match(r"\| (\d+) \|", line)
        if number is None:
            continue
        folder = ""
        for path, function in _NAMED.findall(line):
            folder = path.rpartition("/")[0] or folder
            name = path.rpartition("/")[2]
            found.append(Shown(int(number[1]), f"{folder}/{name}", function))
    return found


SHOWN = shown()


def test_every_invariant_is_shown() -> None:
    """The design has fifteen, each with a test at the least."""
    assert sorted({one.invariant for one in SHOWN}) == list(range(1, 16))


@pytest.mark.parametrize("one", SHOWN, ids=lambda one: f"{one.invariant}-{one.path}")
def test_what_is_named_is_there(one: Shown) -> None:
    """A file with tests in it, and the function where one is named."""
    pattern = one.path if one.path.endswith(".py") else f"{one.path}/test_*.py"
    files = sorted(TESTS.glob(pattern))
    assert files, one.path
    names = {
        node.name
        for file in files
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }
    assert not one.function or one.function in names
    assert any(name.startswith("test_") or name.endswith("Test") for name in names) or any(
        "TestCase" in file.read_text(encoding="utf-8") for file in files
    )
