"""The command itself: help, errors in one line, exit codes."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from config.errors import UnknownCompany
from producers.errors import BatchAborted, BrokerUnavailable, InvalidJob, NotConfirmed, Unroutable
from worker.cli.failures import Exit, Failed, explain, line_of
from worker.cli.main import SECTIONS
from worker.errors import LedgerUnavailable, LedgerUnusable, PostmeterError, UsageError

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Place

ENTRIES = [(name, entry) for section in SECTIONS.values() for name, entry in section.items()]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Failed("no"), 1),
        (click.BadParameter("no"), 2),
        (UnknownCompany("no"), 2),
        (UsageError("no"), 2),
        (LedgerUnusable("no"), 2),
        (LedgerUnavailable("no"), 3),
        (InvalidJob("to", "no"), 2),
        (NotConfirmed("no"), 3),
        (BrokerUnavailable("no"), 3),
        (Unroutable("no"), 1),
        (BatchAborted("b", 1, 2, BrokerUnavailable("no")), 3),
        (BatchAborted("b", 1, 2, InvalidJob("to", "no")), 2),
        (PostmeterError("no"), 1),
        (PermissionError("no"), 1),
    ],
)
def test_every_error_on_purpose_has_a_code(error: Exception, code: int) -> None:
    """0 done, 1 failed, 2 wrong usage or settings, 3 broker or ledger unreachable."""
    explained = explain(error)
    assert explained is not None
    assert explained[1] == code
    assert "no" in explained[0]


def test_a_fault_of_ours_is_not_explained_away() -> None:
    """What nobody raised on purpose keeps its traceback."""
    assert explain(ZeroDivisionError()) is None


def test_an_aborted_batch_says_how_to_go_on() -> None:
    """The line names the batch to give again."""
    explained = explain(BatchAborted("november", 10, 10, BrokerUnavailable("away")))
    assert explained is not None
    assert "run it again with --batch-id november" in explained[0]


def test_an_error_is_one_line() -> None:
    """Line breaks in a message do not make two lines of it."""
    assert line_of("one\n  two") == "postmeter: one two"


def test_wrong_usage_is_one_line_that_says_where_to_read_on(place: Place) -> None:
    """No usage text, no traceback: the mistake, and the command whose help has the rest."""
    result = place.run("send", "--zzz", exits=Exit.USAGE)
    said = "postmeter: No such option '--zzz' (see postmeter send --help)\n"
    assert result.stderr == said


def test_an_unknown_command_names_the_nearest(place: Place) -> None:
    """A slip of the finger is answered with what was meant."""
    result = place.run("stats", exits=Exit.USAGE)
    assert "there is no command 'stats'; did you mean status?" in result.stderr


def test_a_wrong_variable_is_an_error_of_settings(place: Place) -> None:
    """An unknown POSTMETER_ variable ends the command with code 2 and the nearest name."""
    place.environ["POSTMETER_STAT"] = "/somewhere"
    result = place.run("status", exits=Exit.USAGE)
    assert "did you mean POSTMETER_STATE?" in result.stderr
    assert result.stderr.count("\n") == 1


def test_without_a_ledger_reading_says_so_and_makes_none(place: Place) -> None:
    """A ledger that root's command made could not be written by the worker's user."""
    result = place.run("status", exits=Exit.UNREACHABLE)
    assert "no worker has run yet" in result.stderr
    assert not (place.root / "state").exists()


def test_a_ledger_that_is_no_database_is_unreachable(place: Place) -> None:
    """A broken file is told in the database's own words, in one line."""
    (place.root / "state").mkdir()
    (place.root / "state" / "ledger.db").write_text("not a database" * 100)
    result = place.run("lanes", exits=Exit.UNREACHABLE)
    assert "file is not a database" in result.stderr


@pytest.mark.parametrize("name", [name for name, _ in ENTRIES])
def test_help_of_every_command_fits_the_terminal(place: Place, name: str) -> None:
    """Each entry of the table is a command, and its help is no wider than 80 columns."""
    shown = place.run(name, "--help").stdout
    assert shown.startswith(f"Usage: postmeter {name}")
    assert max(map(len, shown.splitlines())) <= 80


def test_the_table_names_commands_that_are_there() -> None:
    """Every module of the table has its command."""
    for name, entry in ENTRIES:
        module = importlib.import_module(f"worker.cli.{entry.module}")
        assert isinstance(getattr(module, entry.attribute or name), click.Command)


def test_every_command_is_in_the_manual() -> None:
    """``docs/command.md`` names each command of the table."""
    manual = (Path(__file__).parents[3] / "docs" / "command.md").read_text(encoding="utf-8")
    synopsis = manual.split("```")[1]
    assert [name for name, _ in ENTRIES if name not in synopsis] == []


def test_help_imports_no_command() -> None:
    """``--help`` answers without the ledger, the settings or rich."""
    program = (
        "import sys\n"
        "from worker.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'sqlalchemy', 'pydantic', 'rich', 'pika', 'dramatiq'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Send email at a pace that is kept" in done.stdout
