"""``postmeter top`` without a terminal: one page, or a document for a script."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.support.ledger import ACCEPTED
from worker.cli import top as command
from worker.cli.failures import Exit
from worker.ledger import holds
from worker.ledger.rows import State

if TYPE_CHECKING:
    import pytest

    from tests.unit.cli.conftest import Place


def test_a_script_gets_every_figure(place: Place) -> None:
    """Limits with their hour, what waits and why, holds, workers, what waits for a person."""
    place.start_worker()
    place.accept("a")
    place.attempt("a", ACCEPTED)
    place.accept("b", "c")
    place.accept("d", state=State.DEAD)
    place.do(lambda c, now: holds.put_hold(c, now, "server:smtp.example.nz:25", "refused"))
    told = place.json("top")
    limit = next(each for each in told["limits"] if each["scope"] == "company:acme")
    assert limit["accepted_by_minute"][-1] == 1
    assert {key: limit[key] for key in ("limit_per_minute", "layer", "accepted_last_minute")} == {
        "limit_per_minute": 30,
        "layer": "company",
        "accepted_last_minute": 1,
    }
    assert [(each["company"], each["reason"], each["jobs"]) for each in told["waiting"]] == [
        ("acme", "held", 2)
    ]
    assert [each["target"] for each in told["holds"]] == ["server:smtp.example.nz:25"]
    assert told["holds"][0]["since"].endswith("+00:00")
    assert told["dead"] == {"acme": 1}
    assert [(each["host"], each["alive"]) for each in told["workers"]] == [("mail1", True)]


def test_one_page_says_what_the_document_says(place: Place) -> None:
    """Without a terminal ``top`` is ``top --once``."""
    place.start_worker()
    place.accept("a", "b")
    shown = place.run("top").stdout
    assert "2 waiting" in shown
    assert re.search(r"^company:acme +0 of 30 ", shown, re.MULTILINE)
    assert place.run("top", "--once").stdout.splitlines()[1:] == shown.splitlines()[1:]
    assert max(map(len, shown.splitlines())) <= command.PIPE_WIDTH


def test_one_company_alone(place: Place) -> None:
    """Another company's figures are left out; one of which nothing is known is a mistake."""
    place.accept("a")
    place.accept("b", company="beta")
    assert {each["company"] for each in place.json("top", "--company", "acme")["waiting"]} == {
        "acme"
    }
    place.tree.write("companies/quiet/company.toml", "")
    assert place.json("top", "--company", "quiet")["waiting"] == []
    refused = place.run("top", "--once", "--company", "acne", exits=Exit.FAILED)
    assert "nothing is known of a company 'acne'; did you mean acme?" in refused.stderr


def test_what_is_not_known_of_one_company_is_no_zero(place: Place) -> None:
    """A script does not take it for nothing: what workers have in hand is known of all only."""
    place.accept("a")
    assert place.json("top")["in_hand"] == 0
    assert place.json("top", "--company", "acme")["in_hand"] is None


def test_an_interval_is_a_number(place: Place) -> None:
    """One that is none would ask the ledger without a rest."""
    refused = place.run("top", "--every", "nan", exits=Exit.USAGE).stderr
    assert "nan is not in the range" in refused


def test_nothing_is_empty_soon_without_a_worker(place: Place) -> None:
    """A forecast that takes a worker for granted would be a lie beside the word that none runs."""
    place.accept("a", "b")
    assert "empty in" not in place.run("top").stdout
    assert place.json("top")["waiting"][0]["company_drain_seconds"] is None
    place.start_worker()
    assert "empty in" in place.run("top").stdout


def test_plain_letters_when_asked_for(place: Place) -> None:
    """``--ascii`` draws with what every font has."""
    place.accept("a")
    assert place.run("top", "--ascii").stdout.isascii()
    assert not place.run("top").stdout.isascii()


def test_without_a_ledger_it_says_so(place: Place) -> None:
    """As every other command does, where there is no terminal to wait at."""
    assert "no worker has run yet" in place.run("top", exits=Exit.UNREACHABLE).stderr
    place.environ["POSTMETER_STAT"] = "/somewhere"
    assert "did you mean POSTMETER_STATE?" in place.run("top", exits=Exit.USAGE).stderr


def test_without_settings_no_limit_is_known(place: Place) -> None:
    """A machine without settings still sees what waits, and is told why it sees no more."""
    place.accept("a")
    del place.environ["POSTMETER_SETTINGS"]
    shown = place.run("top").stdout
    assert "1 waiting" in shown
    assert "no limit" in shown


def test_a_size_in_the_variables_is_no_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell that exports COLUMNS would fix the page's width for good."""
    kept = command.sizeless({"COLUMNS": "20", "LINES": "10", "TERM": "xterm", "NO_COLOR": "1"})
    assert kept == {"TERM": "xterm", "NO_COLOR": "1"}
