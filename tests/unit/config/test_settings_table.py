"""The tables of docs/settings.md: every value of the page names a test that is there and has it."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Final

import pytest

from config.availability import HELD
from config.context import KEYS
from config.table import BEYOND_THE_PAGE, Key
from docs.build_settings import shown_by, values
from tests.support.settings import make_settings
from tests.support.smtp_matrix import ROWS
from tests.support.ways import CASES

ROOT: Final = Path(__file__).resolve().parents[2]
NAME: Final = re.compile(r"(test_\w+\.py)::(test_\w+)(?:\[(.+)\])?")
NAMED: Final = [
    (dotted, value, test) for dotted, shown in shown_by().items() for value, test in shown.items()
]
CONTEXT: Final = {"tls.verify": "verify_certificate"}
"""The attributes of the effective settings that are called otherwise than their keys."""


def parts(test: str) -> tuple[str, str, str]:
    """File, function and row of a test."""
    found = NAME.fullmatch(test)
    assert found, test
    return found[1], found[2], found[3] or ""


def must_be_shown(key: Key) -> bool:
    """Whether the key is of the page, or of its neighbours, or has a list of values."""
    return key.page != BEYOND_THE_PAGE or bool(key.choices)


@pytest.mark.parametrize("dotted", KEYS)
def test_every_value_names_a_test(dotted: str) -> None:
    """Each value of each key of the page, and no value that there is not."""
    key, shown = KEYS[dotted], shown_by().get(dotted)
    if shown is None:
        assert not must_be_shown(key)
        return
    assert tuple(shown) == values(key)


def test_no_table_is_of_a_key_that_there_is_not() -> None:
    """A key that was renamed takes its tests along."""
    assert shown_by().keys() <= KEYS.keys()


@pytest.mark.parametrize(("dotted", "value", "test"), NAMED)
def test_every_named_test_is_there(dotted: str, value: str, test: str) -> None:
    """In one file of that name there is one such function, which is run and can fail."""
    file, function, _ = parts(test)
    (found,) = [
        each
        for path in ROOT.rglob(file)
        for each in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and each.name == function
    ]
    marks = [ast.unparse(each) for each in found.decorator_list]
    assert not any(".skip" in mark or ".xfail" in mark for mark in marks), (dotted, value)


@pytest.mark.parametrize(
    ("dotted", "value", "test"), [each for each in NAMED if "test_smtp_matrix" in each[2]]
)
def test_a_row_of_the_matrix_has_the_value(dotted: str, value: str, test: str) -> None:
    """The row is there, runs on that loop, and sets what it is to show."""
    name, _, loop = parts(test)[2].rpartition(".")
    (row,) = [each for each in ROWS if each.name == name]
    assert loop == "uvloop"
    attribute = CONTEXT.get(dotted, dotted.rpartition(".")[2])
    if value != "any":
        settings = make_settings(**row.changes)
        assert str(getattr(settings, attribute)).lower() == value


@pytest.mark.parametrize(
    ("dotted", "value", "test"), [each for each in NAMED if "test_ways" in each[2]]
)
def test_a_case_of_the_ways_has_the_value(dotted: str, value: str, test: str) -> None:
    """The case is there, and says in the right file what it is to show."""
    (case,) = [each for each in CASES if str(each) == parts(test)[2]]
    table, _, name = dotted.rpartition(".")
    if table == "web":
        assert str(case.allowed).lower() == value
    elif name.endswith("_allow_user_selection"):
        assert name.startswith(case.option)
        assert (str(case.gate).lower(), bool(case.user)) == (value, True)
    elif table == "email":
        assert (case.option, case.user, case.gate) == (name, value, True)
    else:
        assert (case.option, case.value, case.user) == (name, value, "")


def test_only_desktop_values_are_marked_as_held() -> None:
    """And each of these is shown to be held, by a worker that holds its mail."""
    held = {(d, v): t for d, v, t in NAMED if (d.rpartition(".")[2], v) in HELD}
    assert {value for _, value in held} == {"outlook", "full-mapi", "simple-mapi"}
    assert {parts(test)[0] for test in held.values()} == {"test_ways.py"}
