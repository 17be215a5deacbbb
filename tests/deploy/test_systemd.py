"""The systemd units: valid, hardened, and in step with the worker that they run."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from config.process import ProcessSettings
from worker.cli.worker import MARGIN_SECONDS
from worker.supervisor import EXIT_UNUSABLE

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
WORST_EXPOSURE = 12
"""In tenths, of `systemd-analyze security`, whose scale ends at 100; a bare service has 96."""


@pytest.fixture
def analyze() -> str:
    """The program that judges units."""
    program = shutil.which("systemd-analyze")
    if program is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            "no systemd-analyze here: install systemd (Debian: apt-get install systemd)"
        )
    return program


def standing_in(unit: Path, folder: Path, change: tuple[str, str] = ("", "")) -> Path:
    """A copy of a unit whose programs are of this machine, with one change."""
    lines = [
        "ExecStart=/bin/true" if line.startswith("ExecStart=") else line
        for line in unit.read_text("utf-8").splitlines()
    ]
    copy = folder / unit.name
    copy.write_text("\n".join(lines).replace(*change) + "\n", "utf-8")
    return copy


def verify(analyze: str, unit: Path) -> str:
    """What systemd has to say against a unit; empty for a good one."""
    done = subprocess.run(
        [analyze, "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


def is_hardened(analyze: str, unit: Path) -> bool:
    """Whether its exposure is within what is agreed."""
    command = [analyze, "security", "--offline=true", "--no-pager", f"--threshold={WORST_EXPOSURE}"]
    return subprocess.run([*command, str(unit)], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_finds_nothing_wrong(unit: Path, analyze: str, tmp_path: Path) -> None:
    """No unknown key, no wrong value; a misspelt key would be found."""
    assert verify(analyze, standing_in(unit, tmp_path)) == ""
    misspelt = standing_in(unit, tmp_path, ("PrivateTmp", "PrivateTemp"))
    assert "PrivateTemp" in verify(analyze, misspelt)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_may_do_little(unit: Path, analyze: str, tmp_path: Path) -> None:
    """Systemd's own measure of exposure; one right more is seen."""
    assert is_hardened(analyze, standing_in(unit, tmp_path))
    weaker = standing_in(
        unit, tmp_path, ("NoNewPrivileges=yes", "CapabilityBoundingSet=CAP_SYS_ADMIN")
    )
    assert not is_hardened(analyze, weaker)


def test_the_unit_fits_the_worker() -> None:
    """The stop waits for the grace, bad settings are not restarted, and every file has its place."""
    unit = configparser.ConfigParser(strict=False, interpolation=None, delimiters="=")
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # systemd's keys have capitals
    unit.read(DEPLOY / "systemd/postmeter.service", "utf-8")
    service = unit["Service"]
    lines = (DEPLOY / "postmeter.env").read_text("utf-8").splitlines()
    given = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))

    grace = float(given["POSTMETER_GRACE_SECONDS"])
    assert grace == ProcessSettings.model_fields["grace_seconds"].default
    assert float(service["TimeoutStopSec"]) > grace + MARGIN_SECONDS
    assert int(service["RestartPreventExitStatus"]) == EXIT_UNUSABLE
    assert (service["Type"], service["KillMode"]) == ("notify", "mixed")
    assert given["POSTMETER_SETTINGS"] == f"/etc/{service['ConfigurationDirectory']}"
    assert given["POSTMETER_STATE"] == f"/var/lib/{service['StateDirectory']}"
