"""Keys, one at a time, without Enter and without a library; and what else ends a wait for them.

The terminal's line editing is turned off inside a ``with`` block and turned on again when it ends,
however it ends. Ctrl-C stays an interrupt; SIGTERM and a terminal that hangs up are one too.
"""

from __future__ import annotations

import os
import re
import select
import signal
import sys
import termios
import time
import tty
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Final, NoReturn, Self

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

ESCAPE: Final = "escape"
SUSPEND: Final = "suspend"
"""Ctrl-Z: give the screen back, and stop."""
_NAMED: Final = {"A": "up", "B": "down", "C": "right", "D": "left"}
_KEY: Final = re.compile(r"\x1b(?:[\[O][0-9;]*([A-Za-z~]))?|([^\x1b])")
_ARROW_SECONDS: Final = 0.02
"""How long the rest of a key's sequence may take over a slow line."""
_AT_ONCE: Final = 64
"""How many bytes one look reads: more than a person types."""


def keys_in(text: str) -> list[str]:
    """Name the keys in what a terminal has sent: letters, arrows (ECMA-48 8.3, VT100), escape.

    Other keys that send a sequence have no name here and are left out.
    """
    found = []
    for match in _KEY.finditer(text):
        final, letter = match.groups()
        name = letter or (ESCAPE if final is None else _NAMED.get(final, ""))
        if name:
            found.append(name)
    return found


class Bell:
    """Wakes whoever waits for keys; a context manager. Any thread and any signal may ring it."""

    def __enter__(self) -> Self:
        self._hear, self._say = os.pipe()
        os.set_blocking(self._say, False)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._hear)
        os.close(self._say)

    def fileno(self) -> int:
        """What ``select`` waits for."""
        return self._hear

    def ring(self) -> None:
        """Wake it."""
        with suppress(BlockingIOError):  # it is rung so often already that it will wake
            os.write(self._say, b"!")

    def quiet(self) -> None:
        """Forget that it was rung."""
        os.read(self._hear, 4096)


class Keyboard:
    """Waits for keys and for the bell; a context manager that rings it at a new size and at Ctrl-Z.

    Args:
        fd: the terminal; None where there is none, and so no keys.

    Raises:
        KeyboardInterrupt: anywhere inside the ``with`` block, also at SIGTERM and SIGHUP.
    """

    def __init__(self, bell: Bell, fd: int | None) -> None:
        self._bell = bell
        self._fd = fd
        self._stack = ExitStack()
        self._suspend = False

    def __enter__(self) -> Self:
        self._suspend = False
        if self._fd is not None:
            self._stack.enter_context(_key_by_key(self._fd))
        for number, handler in (
            (signal.SIGTERM, _interrupt),
            (signal.SIGHUP, _interrupt),
            (signal.SIGWINCH, self._on_signal),
            (signal.SIGTSTP, self._on_signal),
        ):
            self._stack.callback(signal.signal, number, signal.signal(number, handler))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def wait(self, seconds: float) -> list[str]:
        """Wait for keys, at most so long; none where the bell has rung or the time is over."""
        files: list[int] = [self._bell.fileno(), *([] if self._fd is None else [self._fd])]
        ready, _, _ = select.select(files, [], [], max(0.0, seconds))
        if self._bell.fileno() in ready:
            self._bell.quiet()
        if self._suspend:
            return [SUSPEND]
        return self._read(self._fd) if self._fd in ready and self._fd is not None else []

    def _read(self, fd: int) -> list[str]:
        sent = os.read(fd, _AT_ONCE)
        if sent == b"\x1b":
            time.sleep(_ARROW_SECONDS)
            if select.select([fd], [], [], 0)[0]:
                sent += os.read(fd, _AT_ONCE)
        if not sent:  # the terminal has hung up
            raise KeyboardInterrupt
        return keys_in(sent.decode("utf-8", "ignore"))

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._suspend = self._suspend or number == signal.SIGTSTP
        self._bell.ring()


@contextmanager
def _key_by_key(fd: int) -> Iterator[None]:
    before = termios.tcgetattr(fd)
    try:
        tty.setcbreak(fd, termios.TCSADRAIN)
        yield
    finally:
        if _is_ours(fd):
            termios.tcsetattr(fd, termios.TCSADRAIN, before)


def _is_ours(fd: int) -> bool:
    """Whether the terminal is not another job's by now: who changes that one's is stopped."""
    try:
        return os.tcgetpgrp(fd) == os.getpgrp()
    except OSError:  # no terminal that jobs share
        return True


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def terminal() -> int | None:
    """The terminal that keys come from, if standard input is one."""
    return sys.stdin.fileno() if sys.stdin.isatty() else None


__all__ = ["ESCAPE", "SUSPEND", "Bell", "Keyboard", "keys_in", "terminal"]
