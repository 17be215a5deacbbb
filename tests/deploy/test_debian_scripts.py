"""deploy/debian: shell scripts without a known mistake, and settings that the worker accepts."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

DEBIAN = Path(__file__).resolve().parents[2] / "deploy" / "debian"
COMMANDS = sorted(
    path.name
    for path in DEBIAN.iterdir()
    if path.suffix == "" and path.read_text().startswith("#!")
)


def check(folder: Path) -> str:
    """What shellcheck has to say of the commands, and of what they source."""
    program = shutil.which("shellcheck")
    if program is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            "no shellcheck here (Debian: apt-get install shellcheck)"
        )
    done = subprocess.run(
        [program, "--external-sources", "--check-sourced", *COMMANDS],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


def test_shellcheck_finds_nothing(tmp_path: Path) -> None:
    """In the commands and in every file that they source; a name without quotes would be found."""
    assert check(DEBIAN) == ""
    copy = shutil.copytree(DEBIAN, tmp_path / "debian")
    with (copy / "ledger.sh").open("a") as worse:
        worse.write("worse() { rm -r $1; }\n")
    assert "SC2086" in check(copy)


def test_every_file_is_used() -> None:
    """Each command may be run and stops at the first mistake; each part is sourced by one."""
    assert COMMANDS == ["install", "postmeter", "start", "status", "stop"]
    texts = {name: (DEBIAN / name).read_text("utf-8") for name in COMMANDS}
    for name, text in texts.items():
        assert (DEBIAN / name).stat().st_mode & 0o111 == 0o111
        assert "\nset -eu" in text
    for part in DEBIAN.glob("*.sh"):
        assert any(f'. "$here/{part.name}"' in text for text in texts.values()), part.name
