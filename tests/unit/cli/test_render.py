"""How the command writes."""

from __future__ import annotations

import pytest

from worker.cli import render


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-1, "0 s"),
        (0.4, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (125, "2 min 5 s"),
        (1234, "20 min"),
        (3600, "1 h"),
        (11100, "3 h 5 min"),
        (86400, "1 d"),
        (190000, "2 d 4 h"),
    ],
)
def test_a_duration_has_the_units_that_matter(seconds: float, shown: str) -> None:
    """Two units at the most, none that says nothing."""
    assert render.duration(seconds) == shown


def test_columns_line_up_and_numbers_stand_right() -> None:
    """Each column is as wide as its widest cell."""
    laid = render.table(
        ("COMPANY", "WAITING"), [("acme", 5), ("a-long-name", 1234)], numbers=("WAITING",)
    )
    assert laid.split("\n") == [
        "COMPANY      WAITING",
        "acme               5",
        "a-long-name     1234",
    ]


def test_a_long_last_column_is_broken_beside_the_others() -> None:
    """There is room enough beside them."""
    laid = render.table(("A", "REASON"), [("x", "word " * 20)], fit=50).split("\n")
    assert max(map(len, laid)) <= 50
    assert laid[0] == "A  REASON"
    assert laid[1].startswith("x  word")
    assert laid[2].startswith("   word")


def test_a_last_column_without_room_goes_below_the_others() -> None:
    """A long id leaves no room: the reason stands indented in its own lines."""
    laid = render.table(("ID", "REASON"), [("i" * 50, "word " * 20)], fit=80).split("\n")
    assert max(map(len, laid)) <= 80
    assert laid[0] == "ID"
    assert laid[1] == "i" * 50
    assert laid[2].startswith("    word")


def test_without_a_terminal_a_row_is_one_line() -> None:
    """What goes to a pipe can be cut and searched line by line."""
    laid = render.table(("A", "REASON"), [("x", "word " * 50)])
    assert laid.count("\n") == 1


def test_text_from_outside_cannot_steer_the_terminal() -> None:
    """An escape sequence in a server's reply is shown as harmless characters."""
    assert "\x1b" not in render.table(("REPLY",), [("\x1b[2J550 no",)])


def test_a_closed_output_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that is started without one (``>&-``) writes to nobody, and does not fail."""
    monkeypatch.setattr("sys.stdout", None)
    assert render.width() is None
    render.show(("A",), [("x",)])


def test_an_empty_table_has_its_titles() -> None:
    """No rows, no error."""
    assert render.table(("A", "B"), []) == "A  B"


def test_times_of_other_days_have_their_date() -> None:
    """Today's times are short."""
    now = 1_800_000_000.0
    assert len(render.local(now, now)) == len("12:00:00")
    assert len(render.local(now - 3 * 86400, now)) == len("2027-01-12 12:00:00")


def test_json_times_are_in_utc() -> None:
    """RFC 3339, and null for no time."""
    assert render.iso(0.0) == "1970-01-01T00:00:00.000+00:00"
    assert render.iso(None) is None
