"""``postmeter top`` in a real terminal: it moves, fits, outlives the ledger, and gives all back."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.command import POSTMETER, make_environ, run
from tests.support.ledger import new_job
from tests.support.smtp_sink import SmtpSink
from tests.support.tmux import Tmux, need_tmux
from worker.ledger import deliveries, workers
from worker.ledger.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from worker.ledger.engine import Operation

SYSTEM = (
    '[smtp]\nserver_address = "127.0.0.1"\ntransport_security = "none"\nport = {port}\n'
    'batch_emails_per_min = 120\ndefault_user = "jane"\n'
)
TOP = f"{POSTMETER} top --every 0.3"
BEFORE = "what was here before"
WAITING = re.compile(r"^([\d,]+) waiting", re.MULTILINE)


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """A ledger with 40 emails in line, and the heartbeat of a worker that is no process."""
    file = tmp_path / "state" / "ledger.db"
    jobs = [new_job(f"j{n}", company="_system", user="") for n in range(40)]
    do(file, lambda c, now: workers.register(c, now, "w1", host="mail1", pid=7, version="1"))
    do(file, lambda c, now: [deliveries.accept(c, now, job) for job in jobs])
    return file


def do(file: Path, operation: Operation[Any]) -> None:
    """Do something in a ledger as a worker would; it is made if it is not there."""
    opened = Ledger(f"sqlite:///{file}")
    try:
        opened.call(operation)
    finally:
        opened.close()


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Settings that allow 120 batch emails a minute."""
    return make_environ(tmp_path, SYSTEM.format(port=25))


@pytest.fixture
def terminal(tmp_path: Path, environ: dict[str, str]) -> Iterator[Tmux]:
    """A shell in a terminal of 80 by 24, with something on its screen."""
    need_tmux()
    with Tmux(tmp_path, environ) as running:
        running.run(f"echo {BEFORE}")
        running.shows(f"\n{BEFORE}")
        yield running


def start(terminal: Tmux) -> str:
    """Start the command, and the shell's word on how it ended; the first page with figures."""
    terminal.run(f'{TOP}; echo "code $?"')
    return terminal.until(
        lambda screen: "LAST 60 S" in screen and "? help" in screen, "a whole page"
    )


def is_given_back(terminal: Tmux, code: int) -> None:
    """The command has ended so, and the screen is the shell's again, with its cursor and echo."""
    screen = terminal.shows(f"code {code}")
    assert BEFORE in screen
    assert "LAST 60 S" not in screen
    assert terminal.about("alternate_on") == "0"
    assert terminal.about("cursor_flag") == "1"
    terminal.run("stty -a")
    assert not re.search(r"-(icanon|echo)\b", terminal.shows("iexten"))


def test_keys_sizes_and_the_way_out(terminal: Tmux, ledger: Path) -> None:
    """Keys act at once, a page fits whatever the terminal's size, and q gives all back."""
    page = start(terminal)
    assert WAITING.findall(page) == ["40"]
    assert re.search(r"^system +0 of 120 ", page, re.MULTILINE)
    assert page.splitlines()[-1].startswith("q leave  p pause")
    terminal.resize(40, 12)
    small = terminal.until(
        lambda screen: "LAST 60 S" in screen and "company" not in screen, "a small page"
    )
    assert [line for line in small.splitlines() if len(line) > 40] == []
    terminal.resize(100, 30)
    terminal.shows("company: all")
    terminal.key("?")
    terminal.shows("any key leaves it")
    terminal.key("q")
    terminal.shows("LAST 60 S")
    terminal.key("Right")
    terminal.shows("company: _system")
    terminal.key("p")
    terminal.shows("paused")
    terminal.key("q")
    is_given_back(terminal, 0)


def test_an_interrupt_a_stop_and_a_suspension_give_the_screen_back(
    terminal: Tmux, ledger: Path
) -> None:
    """Ctrl-C and SIGTERM end it with 130 and one line; Ctrl-Z suspends it, and fg goes on."""
    start(terminal)
    terminal.key("C-z")
    assert BEFORE in terminal.shows("Stopped")
    terminal.run("fg; echo")
    terminal.until(lambda screen: "LAST 60 S" in screen and BEFORE not in screen, "its page again")
    terminal.key("C-c")
    assert "postmeter: interrupted" in terminal.until(
        lambda screen: screen.count(BEFORE) and "interrupted" in screen, "the end"
    )
    terminal.run("clear")
    terminal.run(f"echo {BEFORE}")
    start(terminal)
    shell = int(terminal.about("pane_pid"))
    children = subprocess.run(
        ["pgrep", "-P", str(shell)], capture_output=True, text=True, check=True
    )
    os.kill(int(children.stdout), signal.SIGTERM)
    is_given_back(terminal, 130)


def test_the_ledger_goes_and_comes(terminal: Tmux, ledger: Path, tmp_path: Path) -> None:
    """Before there is one, while there is none any more, and with another one in its place."""
    aside = ledger.rename(ledger.with_suffix(".aside"))
    terminal.run(f"{TOP}; clear")
    terminal.shows("there is no ledger at")
    aside.rename(ledger)
    assert "ledger away" not in terminal.shows("40 waiting")
    ledger.rename(aside)
    terminal.until(
        lambda screen: "ledger away since" in screen and "40 waiting" in screen, "what was known"
    )
    terminal.until(re.compile(r"\d\d, \d+ s old").search, "the age of the figures")
    for left in ledger.parent.glob("ledger.db-*"):
        left.unlink()
    other = tmp_path / "other" / "ledger.db"
    do(other, lambda c, now: deliveries.accept(c, now, new_job("a", company="_system")))
    other.rename(ledger)
    assert "ledger away" not in terminal.shows("1 waiting")
    terminal.key("q")


def test_a_pipe_gets_one_page(environ: dict[str, str], ledger: Path) -> None:
    """Without a terminal it prints once and ends, without colours."""
    shown = run(environ, "top").stdout
    assert WAITING.findall(shown) == ["40"]
    assert "mail1" in shown
    assert "\x1b" not in shown


def test_a_page_follows_a_real_worker(tmp_path: Path) -> None:
    """While a worker delivers, what has left goes up, what waits goes down, without a key."""
    need_tmux()
    with SmtpSink(tmp_path / "record.txt") as sink:
        environ = make_environ(tmp_path, SYSTEM.format(port=sink.port))
        environ["POSTMETER_METRICS_PORT"] = "0"
        (tmp_path / "people.csv").write_text(
            "email\n" + "".join(f"p{n}@example.org\n" for n in range(500))
        )
        (tmp_path / "letter.txt").write_text("Subject: Hello\n\nHi\n")
        words = ("batch", "send", f"{tmp_path}/people.csv", "--template", f"{tmp_path}/letter.txt")
        with subprocess.Popen(
            [POSTMETER, "worker"],
            env=environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as worker:
            try:
                run(environ, *words)
                with Tmux(tmp_path, environ) as terminal:
                    terminal.run(TOP)
                    most: list[int] = [0]  # while the batch is still taken in, it goes up

                    def has_moved(screen: str) -> bool:
                        most.append(waits(screen))
                        return 0 < most[-1] < max(most)

                    terminal.until(has_moved, "a move")
                    terminal.shows("1 of 1 worker ready")
                    terminal.until(
                        lambda screen: re.search(
                            r"^system +[1-9]\d* of 120 ", screen, re.MULTILINE
                        ),
                        "what was accepted",
                    )
                    terminal.key("q")
            finally:
                worker.terminate()
                assert worker.wait(60) == 0


def waits(screen: str) -> int:
    """How many emails wait, as a page says."""
    found = WAITING.findall(screen)
    return int(found[0].replace(",", "")) if found else 0
