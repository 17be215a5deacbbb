"""Run the suites; what failed beside others gets one more run, alone, and is then called flaky.

``python tests/support/suites.py JOBS [pytest's arguments]``. Both runs are printed in full. A test
that passes alone does not fail the suites, but its name is printed last; more than five such tests
are no bad luck any more, and nothing is forgiven.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

FORGIVEN = 5
"""How many tests may need a second run."""
_TESTS_FAILED = 1  # pytest's exit code; every other but 0 is no matter of luck


def main(arguments: list[str]) -> int:
    """Run pytest, and what failed once more; pytest's exit code."""
    jobs, *chosen = arguments
    with tempfile.TemporaryDirectory(prefix="postmeter-suites-") as folder:
        cache = Path(folder)  # its own, so that no earlier or other run's failures are in it
        code = _pytest(cache, *chosen, "-n", jobs, "--dist", "loadfile")
        failed = _last_failed(cache)
        if code != _TESTS_FAILED or not failed:
            return code
        if len(failed) > FORGIVEN:
            print(f"{len(failed)} tests failed: too many for bad luck", flush=True)
            return code
        print(f"once more, alone: {len(failed)} of the tests above", flush=True)
        code = _pytest(cache, *chosen, "-n", "0", "--last-failed", "--last-failed-no-failures=none")
        for name in sorted(failed - _last_failed(cache)) if code in {0, _TESTS_FAILED} else ():
            print(f"flaky (failed beside others, passed alone): {name}", flush=True)
        return code


def _pytest(cache: Path, *arguments: str) -> int:
    command = [sys.executable, "-m", "pytest", "-o", f"cache_dir={cache}", *arguments]
    return subprocess.run(command, check=False).returncode


def _last_failed(cache: Path) -> set[str]:
    """The tests that failed in the last run that pytest kept in this folder."""
    found = cache / "v/cache/lastfailed"
    return set(json.loads(found.read_text("utf-8"))) if found.exists() else set()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
