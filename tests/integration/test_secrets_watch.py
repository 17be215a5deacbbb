"""A run that leaves a secret anywhere fails, and says where; one that hides them all passes."""

from __future__ import annotations

import base64
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.secrets_watch import MARK, SECRETS_FOUND, secret, traces

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
CLEAN = """
from tests.support.secrets_watch import secret

def test_it(tmp_path, caplog):
    (tmp_path / "system.toml").write_text(secret("password"))
    (tmp_path / "robot.secret").write_text(secret("password"))
    (tmp_path / "app.pem").write_text(secret("key"))
    (tmp_path / "worker.log").write_text("all is well")
    print("nothing to see")
"""
LEAKS = {
    "worker.log": "(tmp_path / 'worker.log').write_bytes(b'x' * 9000 + secret('p').encode())",
    "mail.eml": "(tmp_path / 'mail.eml').write_text('eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJqYW5lIn0.sig')",
    "a row of note": (
        "db = sqlite3.connect(tmp_path / 'ledger.db');"
        " db.execute('CREATE TABLE note (body)');"
        " db.execute('INSERT INTO note VALUES (?)', (b'a' * 9000 + secret('t').encode(),));"
        " db.commit(); db.close()"
    ),
    "stdout": "print('the password is', secret('p'))",
    "log call": "logging.getLogger('x').error('no: %s', secret('p'))",
}


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that the watch over this run does not search: what is left here is left on purpose."""
    with tempfile.TemporaryDirectory(prefix="postmeter-secrets-") as made:
        yield Path(made)


def run(folder: Path, source: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a suite of one file under the watch."""
    (folder / "test_it.py").write_text(source)
    command = ["-m", "pytest", "-q", "-p", "tests.support.secrets_watch", "-p", "no:cacheprovider"]
    where = ["--rootdir", str(folder), "--basetemp", str(folder / "left"), "-c", "/dev/null"]
    return subprocess.run(
        [sys.executable, *command, *where, *arguments, str(folder / "test_it.py")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_run_that_hides_its_secrets_passes(folder: Path) -> None:
    """The settings tree, files of secrets and keys are where secrets belong."""
    done = run(folder, CLEAN)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("arguments", [(), ("-n", "2")], ids=["alone", "processes"])
def test_a_run_that_leaves_secrets_fails(folder: Path, arguments: tuple[str, ...]) -> None:
    """Each place is named, with one process and with several, although every test has passed."""
    leaks = "\n".join(
        f"def test_{number}(tmp_path):\n    {leak}" for number, leak in enumerate(LEAKS.values())
    )
    imports = "import logging, sqlite3\nfrom tests.support.secrets_watch import secret\n"
    failed = run(folder, f"{imports}{leaks}\n", *arguments)
    assert failed.returncode == SECRETS_FOUND, failed.stdout + failed.stderr
    assert f"{len(LEAKS)} passed" in failed.stdout
    told = failed.stdout.partition("secrets left by this run")[2]
    assert [place for place in LEAKS if place not in told] == []


@pytest.mark.parametrize("before", ["", "x", "xy", "jane\0", "\0jane\0"])
@pytest.mark.parametrize("after", ["", "!", "!!"])
def test_a_secret_is_known_in_base64(before: str, after: str) -> None:
    """Wherever it stands in what was encoded, as in a login or a basic Authorization header."""
    encoded = base64.b64encode(f"{before}{secret('robot')}{after}".encode())
    assert traces(encoded) == ["a secret in base64"]


@pytest.mark.parametrize("text", ["", MARK[:-1], "eyJhbGciOiJSUzI1NiJ9", "eyJ.eyJ."])
def test_what_is_no_secret_is_none(text: str) -> None:
    """A mark cut short and the first part of a token are not called one."""
    assert traces(text.encode()) == []
