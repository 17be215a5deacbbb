"""Keys one at a time: what they are called, and that the terminal is given back."""

from __future__ import annotations

import os
import signal
import termios
from typing import TYPE_CHECKING

import pytest

from worker.cli.keyboard import SUSPEND, Bell, Keyboard, keys_in

if TYPE_CHECKING:
    from collections.abc import Iterator

LONG_SECONDS = 60.0


@pytest.mark.parametrize(
    ("sent", "keys"),
    [
        ("q", ["q"]),
        ("sp", ["s", "p"]),
        ("\x1b", ["escape"]),
        ("\x1b[C", ["right"]),
        ("\x1bOD", ["left"]),
        ("\x1b[1;5A", ["up"]),
        ("\x1b[3~", []),
        ("\x1b[Bq", ["down", "q"]),
        ("\x1b\x1b[C", ["escape", "right"]),
        ("é", ["é"]),
        ("", []),
    ],
)
def test_keys_by_name(sent: str, keys: list[str]) -> None:
    """Arrows in both of a terminal's modes, with and without modifiers; others are left out."""
    assert keys_in(sent) == keys


@pytest.fixture
def ends() -> Iterator[tuple[int, int]]:
    """A terminal: the end that a person types at, and the program's."""
    person, program = os.openpty()
    yield person, program
    os.close(person)
    os.close(program)


def modes(fd: int) -> tuple[int, bool, bool]:
    """Whether a terminal gathers lines, and whether it echoes."""
    local = termios.tcgetattr(fd)[3]
    return local, bool(local & termios.ICANON), bool(local & termios.ECHO)


def test_a_key_comes_without_enter_and_the_terminal_is_given_back(ends: tuple[int, int]) -> None:
    """Also when the block ends with an error."""
    person, program = ends
    before = modes(program)
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGTSTP)]

    def use() -> None:
        with Bell() as bell, Keyboard(bell, program) as keyboard:
            assert modes(program)[1:] == (False, False)
            os.write(person, b"\x1b[C")
            assert keyboard.wait(LONG_SECONDS) == ["right"]
            assert keyboard.wait(0.0) == []
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        use()
    assert modes(program) == before
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGTSTP)] == handlers


def test_a_terminal_that_is_the_shells_again_is_left_alone(
    ends: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Changing it from the background would stop a process that was told to end (SIGTTOU)."""
    with Bell() as bell, Keyboard(bell, ends[1]):
        ours = modes(ends[1])
        monkeypatch.setattr("worker.cli.keyboard.os.tcgetpgrp", lambda _fd: os.getpgrp() + 1)
    assert modes(ends[1]) == ours


def test_an_arrow_over_a_slow_line_is_no_escape(
    ends: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest of a key's sequence may come a moment later; a lone escape is what it is."""
    person, program = ends
    rest = [b"[C", b""]
    monkeypatch.setattr(
        "worker.cli.keyboard.time.sleep", lambda _seconds: os.write(person, rest.pop(0))
    )
    with Bell() as bell, Keyboard(bell, program) as keyboard:
        os.write(person, b"\x1b")
        assert keyboard.wait(LONG_SECONDS) == ["right"]
        os.write(person, b"\x1b")
        assert keyboard.wait(LONG_SECONDS) == ["escape"]


def test_the_bell_and_a_new_size_end_a_wait(ends: tuple[int, int]) -> None:
    """Nobody waits out the time-out for news, a resize or a suspension."""
    with Bell() as bell, Keyboard(bell, ends[1]) as keyboard:
        bell.ring()
        assert keyboard.wait(LONG_SECONDS) == []
        os.kill(os.getpid(), signal.SIGWINCH)
        assert keyboard.wait(LONG_SECONDS) == []
        os.kill(os.getpid(), signal.SIGTSTP)
        assert keyboard.wait(LONG_SECONDS) == [SUSPEND]
        for _ in range(100_000):
            bell.ring()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_stop_is_an_interrupt(ends: tuple[int, int], number: signal.Signals) -> None:
    """So that every block gives back what it took."""
    with Bell() as bell, pytest.raises(KeyboardInterrupt), Keyboard(bell, ends[1]):
        os.kill(os.getpid(), number)


def test_a_terminal_that_hangs_up_is_an_interrupt() -> None:
    """Nobody would ever press a key again; a pipe's end looks the same, and is no error to set."""
    hear, say = os.pipe()
    os.close(say)
    with Bell() as bell:
        keyboard = Keyboard(bell, None)
        with keyboard:
            assert keyboard.wait(0.0) == []
        keyboard = Keyboard(bell, hear)
        with pytest.raises(KeyboardInterrupt):
            keyboard.wait(LONG_SECONDS)
    os.close(hear)
