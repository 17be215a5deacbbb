"""Waiting for what another thread or process does, with a time-out that no load reaches."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

GENEROUS_SECONDS = 60.0
"""Longer than a process needs to start on a machine that does eight other things."""


def wait_until(
    condition: Callable[[], object],
    what: str = "it",
    timeout_seconds: float = GENEROUS_SECONDS,
) -> None:
    """Wait until a condition holds, or gives anything that is true.

    Raises:
        AssertionError: it did not within the time-out.
    """
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen in {timeout_seconds:g} s"
        time.sleep(0.02)


def gone(*pids: int) -> bool:
    """Whether none of these processes runs any more."""
    for pid in pids:
        try:
            if ") Z" not in Path(f"/proc/{pid}/stat").read_text("ascii"):
                return False
        except OSError:
            continue
    return True
