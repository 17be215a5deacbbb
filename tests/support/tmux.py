"""A terminal that a test can look at and type into: tmux, on a server of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, Final, Self

import pytest

from tests.support.waiting import GENEROUS_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

LOOK_SECONDS: Final = 0.1
"""Each look is a process of its own."""
MISSING: Final = "no tmux here: install tmux (Debian: apt-get install tmux)"


def need_tmux() -> None:
    """Skip the test where there is no tmux, but fail in CI."""
    if shutil.which("tmux") is None:
        if os.environ.get("CI"):
            pytest.fail(MISSING)
        pytest.skip(MISSING)


class Tmux:
    """A shell in a terminal; a context manager that ends whatever runs in it.

    Args:
        folder: for its socket.
        environ: the variables of the shell.
    """

    def __init__(
        self, folder: Path, environ: Mapping[str, str], *, width: int = 80, height: int = 24
    ) -> None:
        self._socket = folder / "tmux"
        self._environ = {**environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "PS1": "$ "}
        self._size = ("-x", str(width), "-y", str(height))

    def __enter__(self) -> Self:
        shell = "exec sh"  # it reads no file of the user's
        self._do("-f", os.devnull, "new-session", "-d", *self._size, shell)
        try:
            self.until(str.strip, "a prompt")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._do("kill-server")

    def _do(self, *words: str) -> str:
        command = ["tmux", "-S", str(self._socket), *words]
        done = subprocess.run(
            command, env=self._environ, capture_output=True, text=True, check=True, timeout=60
        )
        return done.stdout

    def run(self, line: str) -> None:
        """Type a line for the shell, and Enter."""
        self._do("send-keys", "-l", line)
        self._do("send-keys", "Enter")

    def key(self, *names: str) -> None:
        """Press keys, by tmux's names: ``q``, ``C-c``, ``Right``."""
        self._do("send-keys", *names)

    def resize(self, width: int, height: int) -> None:
        """Make the terminal larger or smaller."""
        self._do("resize-window", "-x", str(width), "-y", str(height))

    def screen(self) -> str:
        """What the terminal shows now."""
        return self._do("capture-pane", "-p")

    def about(self, name: str) -> str:
        """What tmux knows of the pane: ``alternate_on``, ``cursor_flag``, ``pane_current_command``."""
        return self._do("display-message", "-p", f"#{{{name}}}").strip()

    def until(self, seen: Callable[[str], object], what: str) -> str:
        """Wait until the screen shows it; the screen."""
        deadline = time.monotonic() + GENEROUS_SECONDS
        while not seen(screen := self.screen()):
            assert time.monotonic() < deadline, f"{what} did not come; the screen:\n{screen}"
            time.sleep(LOOK_SECONDS)
        return screen

    def shows(self, text: str) -> str:
        """Wait until a text is on the screen; the screen."""
        return self.until(lambda screen: text in screen, repr(text))
