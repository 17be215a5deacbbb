"""The installed command, run as a process of its own in an environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

POSTMETER = Path(sys.executable).with_name("postmeter")
JANE = '[email]\naddress = "jane@example.nz"\n'


def make_environ(root: Path, system_toml: str) -> dict[str, str]:
    """Write a tree with the system's user jane, and return the variables that name it."""
    settings = root / "settings"
    (settings / "users").mkdir(parents=True)
    (settings / "system.toml").write_text(system_toml)
    (settings / "users" / "jane.toml").write_text(JANE)
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {
        **kept,
        "PYTHONUTF8": "1",
        "POSTMETER_SETTINGS": str(settings),
        "POSTMETER_STATE": str(root / "state"),
    }


def run(environ: dict[str, str], *words: str, exits: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the command, which must end with this code."""
    done = subprocess.run(
        [POSTMETER, *words], env=environ, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == exits, done.stdout + done.stderr
    return done


@contextmanager
def running_worker(environ: dict[str, str], processes: int) -> Iterator[None]:
    """Run the command's worker, its metrics on a free port; it ends well."""
    environ["POSTMETER_METRICS_PORT"] = "0"
    with subprocess.Popen(
        [POSTMETER, "worker", "--processes", str(processes)],
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as worker:
        try:
            yield
        finally:
            worker.terminate()
            assert worker.wait(60) == 0
