"""The page of the proof, made from results as they are told or as they were saved."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from tests.prove import __main__ as prove
from tests.prove import report
from tests.prove.parts import all_parts
from tests.prove.report import page
from tests.prove.saved import read_saved, run_line

if TYPE_CHECKING:
    from pathlib import Path

WHEN = datetime(2026, 11, 24, tzinfo=UTC)
NOT_MEASURED = "Not measured in this run."


def a_result(name: str, **fields: Any) -> dict[str, Any]:
    """A row's result as its process tells it."""
    told = {"name": name, "worst": 600, "used": 0.991, "needed": 0.98, "lost": 0, "doubled": 1}
    more = {"unknown": 2, "times": 9, "mean_reply_seconds": 0.25, "failures": []}
    return {**told, **more, **fields}


def turns(name: str) -> dict[str, Any]:
    """What fair turns came to."""
    told = {"name": name, "waiting": 102_394, "last_seconds": 1.605, "fair_seconds": 1.8}
    return {**told, "first_seconds": 0.278, "worst": 600, "failures": []}


def control(ledger: str, **fields: Any) -> dict[str, Any]:
    """How soon each word acted, twice each."""
    told = {
        "name": f"control-{ledger}",
        "ledger": ledger,
        "pause_seconds": [0.1, 0.2],
        "resume_seconds": [0.0, 0.3],
        "lower_seconds": [1.25, 0.6],
        "raise_seconds": [0.9, 0.17],
        "sent_over_restart": 0,
        "worst": 363,
        "failures": [],
    }
    return {**told, **fields}


PEER = {
    "name": "peer-x-600",
    "peer": "x",
    "title": "X",
    "limit": 600,
    "worst": 1124,
    "used": 0.77,
    "tries_a_mail": 7.2,
    "doubled": 0,
    "failures": [],
}
SOAK = {
    "minutes": 60.0,
    "intake_seconds": 8.6,
    "accepted": 1_811,
    "worst": 30,
    "used": 0.9912,
    "needed": 0.9859,
    "consumer_timeouts": 0,
    "extra_attempts": 0,
    "rss_mb": {"7": [71.0, 80.2, 80.3, 80.4], "8": [70.0, 81.0, 81.0, 81.1]},
    "unacknowledged_seconds": 0.0,
    "failures": [],
    "samples": [],
}
"""As it was saved before it had a name."""


def write(*results: dict[str, Any], **how: Any) -> str:
    """The page of some results."""
    named = {result["name"]: result for result in results}
    return page(named, {"Python": "3.11"}, 55.4, WHEN, **how)


def save(path: Path, *documents: dict[str, Any]) -> Path:
    """Save documents as ``--json`` writes them."""
    path.write_text("".join(f"{json.dumps(document)}\n" for document in documents), "utf-8")
    return path


def test_the_page_says_what_was_measured() -> None:
    """A row, a peer over its limit in bold, the programs and the date."""
    text = write(a_result("600-4-kill-sqlite"), PEER)
    assert (
        "| kill | 600 | 4 | sqlite | rabbitmq | 9 | 600 | 99.10% | 98.00% | 0 | 1 | 2 | held |"
        in text
    )
    assert "| X | 600 | **1,124** | 187% | 77.0% | 7.2 | 0 |" in text
    assert "on 24 November 2026: 55 minutes on " in text
    assert "\nPython 3.11.\n" in text


def test_a_row_that_was_not_measured_is_on_the_page_and_says_so() -> None:
    """No row vanishes, and the page does not begin as if all had held."""
    text = write(a_result("600-4-kill-sqlite"))
    assert f"| stop | 600 | 4 | sqlite | embedded |{' - |' * 7} {NOT_MEASURED} |" in text
    assert "Every row that was measured held; " in text


def test_the_page_says_that_every_row_held_where_every_row_was_measured() -> None:
    """All rows of the matrix, each with a result."""
    rows = [part.name for part in all_parts() if part.name[0].isdigit()]
    text = write(*map(a_result, rows))
    assert "# The proof\n\nEvery row held.\n" in text


def test_the_page_begins_with_what_failed() -> None:
    """A row that failed, and one whose process ended without a word."""
    failed = a_result("600-4-kill-sqlite", failures=["1 mails never arrived"])
    silent = {"name": "600-4-kill-postgresql", "failures": ["it ended without a result"]}
    text = write(failed, silent)
    assert "**2 failed:**" in text
    assert "* `600-4-kill-sqlite`: 1 mails never arrived" in text
    assert "* `600-4-kill-postgresql`: it ended without a result" in text
    assert f"| kill | 600 | 4 | postgresql | embedded |{' - |' * 7} failed |" in text


def test_the_page_tells_turns_and_control_on_both_ledgers() -> None:
    """One that is missing is said to be, beside the other."""
    text = write(turns("turns"), control("postgresql"))
    assert "| SQLite | 102,394 | 0.28 s | 1.60 s | 1.8 s | 600 |" in text
    assert f"| PostgreSQL | {NOT_MEASURED} |" in text
    assert f"| `postmeter resume`, until the next mail | 2.1 s | {NOT_MEASURED} | 0.30 s |" in text
    assert f"old pace | 2.0 s | {NOT_MEASURED} | 1.25 s |" in text
    both = write(
        turns("turns"), turns("turns-postgresql"), control("sqlite"), control("postgresql")
    )
    assert "| PostgreSQL | 102,394 |" in both
    assert "new pace | 2.0 s | 0.90 s | 0.90 s |" in both
    assert "all workers restarted | 0 | 0 | 0 |" in both


def test_a_word_that_was_never_given_has_no_time() -> None:
    """An empty list is no zero."""
    text = write(control("sqlite", raise_seconds=[]))
    assert f"new pace | 2.0 s | {NOT_MEASURED} | {NOT_MEASURED} |" in text


def test_the_page_tells_the_soak(tmp_path: Path) -> None:
    """From the document that it saves; one that does not say its name yet is known by its fields."""
    saved = read_saved([save(tmp_path / "a", turns("turns")), save(tmp_path / "b", SOAK)])
    text = page(saved.results, {}, 50, WHEN)
    assert "| worst 60 s | at most 30 | 30 |" in text
    assert "| of the limit used | at least 98.59% | 99.12% |" in text
    assert "| within 5 MB | 80.2 → 80.4 MB, 81.0 → 81.1 MB |" in text
    assert saved.runs == 1


def test_saved_results_are_put_together_and_none_is_altered(tmp_path: Path) -> None:
    """The later of one name counts, and what the earlier failed in is told."""
    early = a_result("600-4-kill-sqlite", failures=["1 mails never arrived"])
    late = a_result("600-4-kill-sqlite", worst=599)
    files = [
        save(tmp_path / "a", early, turns("turns"), run_line(40.5, WHEN, {"Python": "3.11"})),
        save(tmp_path / "b", late, run_line(6.0, WHEN.replace(day=25), {"SQLite": "3.40"})),
    ]
    saved = read_saved(files)
    assert saved.results == {"600-4-kill-sqlite": late, "turns": turns("turns")}
    assert (saved.minutes, saved.runs, saved.when.day) == (46.5, 2, 25)
    assert saved.programs == {"Python": "3.11", "SQLite": "3.40"}
    text = page(saved.results, saved.programs, 46.5, WHEN, saved.runs, saved.again)
    assert "Measured again, after these had failed:\n\n* `600-4-kill-sqlite`: 1 mails never" in text
    assert ", in 2 runs." in text


def test_a_run_that_was_cut_short_does_not_say_how_long_it_took(tmp_path: Path) -> None:
    """Then its time is that of its file, and the minutes have to be given."""
    whole = save(tmp_path / "a", turns("turns"), run_line(40.0, WHEN, {}))
    cut = save(tmp_path / "b", control("sqlite"))
    os.utime(cut, times=(WHEN.timestamp() + 60, WHEN.timestamp() + 60))
    saved = read_saved([whole, cut])
    assert saved.minutes is None
    assert (saved.when - WHEN).total_seconds() == 60


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("held\n", "is not a document of JSON on each line"),
        ('{"name": "turns"}\n', "has something that is no result"),
        ("[]\n", "has something that is no result"),
        ("", "no result of `python -m tests.prove` is among these"),
        (json.dumps(SOAK), "no result of `python -m tests.prove` is among these"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, text: str, said: str) -> None:
    """With a sentence, and before the page is touched."""
    file = tmp_path / "results"
    file.write_text(text)
    with pytest.raises(ValueError, match=said):
        read_saved([file])


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the page is written instead of docs/."""
    monkeypatch.setattr(report, "PAGE", tmp_path / "proof.md")
    return tmp_path / "proof.md"


def command(monkeypatch: pytest.MonkeyPatch, *words: str | Path) -> int:
    """Run ``python -m tests.prove`` with these words."""
    monkeypatch.setattr(sys, "argv", ["prove", *map(str, words)])
    return prove.main()


def test_the_command_writes_the_page_from_files(
    tmp_path: Path,
    written: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In the order of the page; what is unknown or missing is told; 1 where something failed."""
    failed = control("sqlite", failures=["paused, mail came after 2.30 s, 2.0 s are allowed"])
    file = save(tmp_path / "a", {**PEER, "name": "peer-gone"}, failed, turns("turns"))
    assert command(monkeypatch, "--page", file) == 2
    assert "give --minutes" in capsys.readouterr().err
    assert not written.exists()
    assert command(monkeypatch, "--page", file, "--minutes", "47") == 1
    told = capsys.readouterr().err
    assert "left out: nothing is called peer-gone now" in told
    assert "not measured: turns-postgresql" in told
    assert ": 47 minutes on " in written.read_text()
    assert "* `control-sqlite`: paused, mail came after 2.30 s" in written.read_text()
    later = save(tmp_path / "b", control("sqlite"))
    assert command(monkeypatch, "--page", file, later, "--minutes", "47") == 0
    assert "Measured again" in written.read_text()


def test_the_command_refuses_a_file_that_is_not_there(
    tmp_path: Path,
    written: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With the file's name, and wrong usage as its exit code."""
    assert command(monkeypatch, "--page", tmp_path / "nothing", "--minutes", "1") == 2
    assert "nothing" in capsys.readouterr().err
    assert not written.exists()


def test_every_part_has_a_name_of_its_own_and_both_ledgers_are_there() -> None:
    """Turns and control are measured on SQLite and on PostgreSQL."""
    names = [part.name for part in all_parts()]
    assert len(set(names)) == len(names)
    wanted = {"turns", "turns-postgresql", "control-sqlite", "control-postgresql"}
    assert wanted <= set(names)


def test_a_run_saves_what_the_page_can_be_made_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same lines on the output and in its folder, with what the run tells of itself."""

    def run_all(*words: Any) -> list[dict[str, Any]]:
        words[-1](turns("turns"))
        return [turns("turns")]

    monkeypatch.setattr(prove, "_missing", lambda _parts: [])
    monkeypatch.setattr(prove, "_run_all", run_all)
    assert command(monkeypatch, "--only", "turns", "--json", "--folder", tmp_path) == 0
    text = (tmp_path / "results.json").read_text()
    assert capsys.readouterr().out == text
    saved = read_saved([tmp_path / "results.json"])
    assert saved.results == {"turns": turns("turns")}
    assert saved.minutes is not None
    assert "Postmeter" in saved.programs
