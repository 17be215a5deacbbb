"""What the keys of ``top`` do, and what of a board one company is shown."""

from __future__ import annotations

import pytest

from tests.support.top_boards import AT, BUSY
from worker.cli.top_looking import Looking, Order, companies_of, company_of_scope, only
from worker.cli.top_marks import BLOCKS, LETTERS, marks_for
from worker.telemetry.board import Board, Holding

COMPANIES = ["acme", "beta"]


def press(looking: Looking, *keys: str) -> Looking:
    """Press keys one after another."""
    for key in keys:
        looking = looking.after(key, COMPANIES)
    return looking


@pytest.mark.parametrize(
    ("keys", "company"),
    [
        (("c",), "acme"),
        (("right", "c"), "beta"),
        (("c", "c", "c"), None),
        (("left",), "beta"),
        (("c", "C"), None),
        (("c", "a"), None),
        (("c", "escape"), None),
    ],
)
def test_companies_are_gone_through_and_back(keys: tuple[str, ...], company: str | None) -> None:
    """After the last one come all again."""
    assert press(Looking(), *keys).company == company


def test_a_company_that_is_gone_is_left_behind() -> None:
    """The next one is the first."""
    assert press(Looking("gone"), "c").company == "acme"


def test_pause_order_and_help() -> None:
    """Each key does one thing; any key leaves the help, and does nothing else."""
    assert press(Looking(), "p").paused
    assert press(Looking(), "p", " ") == Looking()
    assert [press(Looking(), *"s" * n).order for n in range(4)] == [*Order, Order.URGENT]
    assert press(Looking(), "?").help
    assert press(Looking(), "?", "p") == Looking()
    assert press(Looking(), "x", "up") == Looking()


def test_limits_in_the_order_that_was_chosen() -> None:
    """As the board has them, by what waits, by name."""
    assert Looking().of(BUSY) == BUSY
    by_waiting = [scope.waiting for scope in Looking(order=Order.WAITING).of(BUSY).scopes]
    assert by_waiting == sorted(by_waiting, reverse=True)
    by_name = [scope.id for scope in Looking(order=Order.NAME).of(BUSY).scopes]
    assert by_name == sorted(by_name)


@pytest.mark.parametrize(
    ("scope", "company"),
    [
        ("company:acme", "acme"),
        ("company:acme:day", "acme"),
        ("mailbox:acme/jane", "acme"),
        ("mailbox:acme/jane:day", "acme"),
        ("mailbox:_system/root", "_system"),
        ("system", "_system"),
        ("system:day", "_system"),
        ("all", ""),
    ],
)
def test_whose_a_scope_is(scope: str, company: str) -> None:
    """The ceiling is nobody's."""
    assert company_of_scope(scope) == company


def test_the_busiest_company_comes_first() -> None:
    """One key shows it; one of which only a limit is known comes too."""
    assert companies_of(BUSY)[:3] == ["beta-international", "acme", "gamma"]
    assert "client-00" in companies_of(BUSY)


def test_what_keeps_the_mail_of_one_company() -> None:
    """Its own holds, and those that keep anybody's: servers, everything, an app's credential."""
    targets = {
        "acme": ["company:acme", "company:acme:batch", "batch:acme/november", "account:acme/jane"],
        "": ["all", "all:batch", "server:smtp.example.nz:587", "credential:_app/x", "scope:all"],
        "_system": ["system", "system:batch", "account:_system/root", "scope:system"],
        "beta": ["credential:beta/bob", "scope:company:beta", "scope:conn:beta/bob"],
    }
    every = [target for group in targets.values() for target in group]
    board = Board(AT, "1", holds=tuple(Holding(target, "other", AT, None) for target in every))
    for company in ("acme", "_system", "beta"):
        kept = {hold.target for hold in only(board, company).holds}
        assert kept == {*targets[company], *targets[""]}


def test_marks_fit_the_terminal() -> None:
    """Blocks where encoding and font have them, letters elsewhere."""
    assert marks_for("utf-8", "xterm-256color") is BLOCKS
    assert marks_for("UTF8", "") is BLOCKS
    assert marks_for("iso-8859-1", "xterm") is LETTERS
    assert marks_for("ascii", "xterm") is LETTERS
    assert marks_for("utf-8", "linux") is LETTERS


def test_a_bar_is_full_only_at_the_limit_and_empty_only_at_nothing() -> None:
    """One of a thousand shows, and 999 are not all."""
    assert [len(BLOCKS.bar(share, 10)[0]) for share in (0, 0.001, 0.5, 0.999, 1, 7)] == [
        *(0, 1, 5, 9, 10, 10)
    ]
    assert LETTERS.bar(0.5, 4) == ("##", "--")


@pytest.mark.parametrize(
    ("minutes", "limit", "width", "drawn"),
    [
        ((0,) * 59 + (30,), 30, 60, "·" * 59 + "▇"),
        ((0,) * 54 + (30,) * 6, 30, 13, "·" * 10 + "▁▇"),
        ((30,) * 60, 60, 10, "▄" * 10),
        ((1,) * 60, 6000, 10, "▁" * 10),
        ((5,) * 60, None, 10, "▇" * 10),
        ((90,) * 60, 30, 10, "▇" * 10),
        ((30, 30), 30, 60, " " * 58 + "▇▇"),
        ((), 30, 10, " " * 10),
        ((0,) * 60, None, 10, "·" * 10),
    ],
)
def test_an_hour_ends_now(
    minutes: tuple[int, ...], limit: int | None, width: int, drawn: str
) -> None:
    """Against the limit, or the highest; minutes that are not known yet are left blank."""
    assert BLOCKS.hour(minutes, limit, width) == drawn
