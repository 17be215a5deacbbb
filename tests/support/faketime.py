"""Processes whose date is wrong: the variables that let libfaketime shift it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

MISSING = "no libfaketime here (Debian: apt-get install libfaketime)"


def shifted(offset: str) -> dict[str, str]:
    """The variables of a process whose date is so far off, as ``+30s``.

    The date is shifted, not the steady clock: two hosts' have nothing in common anyway, and the
    library would shift its timers' ends too. Skips where there is no library, but fails in CI.
    """
    found = next(iter(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(MISSING)
    return {
        "LD_PRELOAD": str(found),
        "FAKETIME": offset,
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }
