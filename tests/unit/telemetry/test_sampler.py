"""The sampler: asks the ledger rarely, and lives without it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.clock import FakeClock
from tests.support.ledger import Store
from tests.support.settings_tree import SMTP, SettingsTree
from worker.errors import LedgerUnavailable
from worker.telemetry.sampler import Sampler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class SlowLedger:
    """A ledger in memory whose every answer takes a while, and that can be away."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.store = Store(clock)
        self.seconds = 0.0
        self.away = ""
        self.reads = 0

    def now(self) -> Any:
        """Read both clocks."""
        return self.clock.now()

    def read(self, operation: Callable[..., Any]) -> Any:
        """Answer."""
        self.reads += 1
        self.clock.advance(self.seconds)
        if self.away:
            raise LedgerUnavailable(self.away)
        return self.store.do(operation)

    def close(self) -> None:
        """Let go of the memory."""
        self.store.close()


@pytest.fixture
def ledger() -> SlowLedger:
    """A ledger that answers at once."""
    return SlowLedger(FakeClock())


@pytest.fixture
def sampler(ledger: SlowLedger, tmp_path: Path) -> Iterator[Sampler]:
    """A sampler with acme at 30 a minute."""
    tree = SettingsTree(tmp_path)
    tree.company("acme", SMTP + "batch_emails_per_min = 30\n")

    def open_ledger(_url: str) -> Any:
        if ledger.away:
            raise LedgerUnavailable(ledger.away)
        return ledger

    sampler = Sampler(
        "", tree.watcher(), open_ledger=open_ledger, clock=lambda: ledger.clock.now().steady
    )
    yield sampler
    sampler.close()


def test_ledger_is_up_only_while_it_can_be_written(
    sampler: Sampler, ledger: SlowLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readable but full or locked is down: nothing is taken in or sent."""
    trouble = ["", "database or disk is full", ""]
    monkeypatch.setattr(sampler, "_probe", lambda: trouble[0])
    seen = []
    while trouble:
        sampler.tick()
        ledger.clock.advance(3.0)
        seen.append((sampler.sample().ledger_up, sampler.trouble))
        trouble.pop(0)
    assert seen == [(True, ""), (False, "database or disk is full"), (True, "")]


def test_scrapes_share_an_answer(sampler: Sampler, ledger: SlowLedger) -> None:
    """Within a second the ledger is asked once, however many ask."""
    sampler.tick()
    asked = ledger.reads
    for _ in range(5):
        sampler.sample()
    assert ledger.reads == asked + 1
    ledger.clock.advance(1.0)
    sampler.sample()
    assert ledger.reads == asked + 2


def test_a_slow_answer_is_kept_longer(sampler: Sampler, ledger: SlowLedger) -> None:
    """Asking takes no more than a twentieth of the time, however large the ledger is."""
    sampler.tick()
    ledger.seconds = 0.5
    sampler.sample()
    ledger.clock.advance(9.0)
    asked = ledger.reads
    sampler.sample()
    assert ledger.reads == asked
    ledger.clock.advance(2.0)
    sampler.sample()
    assert ledger.reads == asked + 1


def test_windows_read_on(sampler: Sampler, ledger: SlowLedger) -> None:
    """Each acceptance counts once, in every scope; those before the start count for the window."""
    ledger.store.register("w1")
    for number in range(3):
        ledger.store.settle(ledger.store.in_data(f"job-{number}"))
        ledger.clock.advance(1.0)
    sampler.tick()
    sampler.tick()
    ledger.store.settle(ledger.store.in_data("job-3"))
    sampler.tick()
    assert sampler.sample().windows == {"all": (4, 4), "company:acme": (4, 4)}
    ledger.clock.advance(59.5)
    assert sampler.sample().windows == {"all": (1, 4), "company:acme": (1, 4)}


def test_a_ledger_that_is_away(sampler: Sampler, ledger: SlowLedger) -> None:
    """What keeps the ledger away is told; when it is back, so are the figures."""
    ledger.away = "the disk is gone"
    sampler.tick()
    assert (sampler.trouble, sampler.sample().standing) == ("the disk is gone", None)
    ledger.clock.advance(5.0)
    ledger.away = ""
    sampler.tick()
    assert sampler.trouble == ""
    assert sampler.sample().standing is not None
    ledger.clock.advance(5.0)
    ledger.away = "again"
    assert sampler.sample().standing is None
    assert sampler.trouble == "again"
    assert sampler.sample().limits.keys() == {"company:acme"}


def test_a_board_outlives_its_ledger(sampler: Sampler, ledger: SlowLedger) -> None:
    """While the ledger is away the last figures stay, with their age; the settings' are of now."""
    ledger.store.register("w1")
    ledger.store.accept("1", "2")
    ledger.store.settle(ledger.store.in_data("3"))
    sampler.tick()
    board = sampler.board()
    (acme,) = [scope for scope in board.scopes if scope.id == "company:acme"]
    assert (board.trouble, acme.window, acme.minutes[-1]) == ("", 1, 1)
    assert [line.jobs for line in board.lines] == [2]
    ledger.clock.advance(60.0)
    ledger.away = "/var/lib/postmeter/ledger.db: the disk is gone"
    sampler.tick()
    later = sampler.board()
    assert (later.trouble, later.at, later.lines) == ("away", board.at, board.lines)
    assert "ledger.db" not in str(later)


def test_boards_share_an_answer(sampler: Sampler, ledger: SlowLedger) -> None:
    """However many look at the page, the ledger is asked once a second at most."""
    sampler.tick()
    sampler.board()
    asked = ledger.reads
    for _ in range(5):
        sampler.board()
    assert ledger.reads == asked
    ledger.clock.advance(1.0)
    sampler.board()
    assert ledger.reads > asked


def test_a_ledger_that_cannot_be_written_is_told_in_a_word(
    sampler: Sampler, ledger: SlowLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page does not show the driver's words."""
    monkeypatch.setattr(sampler, "_probe", lambda: "/var/lib/postmeter is full")
    sampler.tick()
    assert sampler.board().trouble == "read-only"
