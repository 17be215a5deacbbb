"""A worker that needs no token does not pay for MSAL."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """\
import sys
import worker.app
import worker.cli.worker
print([name for name in ("msal", "requests", "jwt") if name in sys.modules])
"""


def test_a_worker_starts_without_msal() -> None:
    """Nothing that the worker imports at its start brings it: 15 MB in each process."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout == "[]\n"
