"""The worker's wheel has the runbook, so that an installed worker serves the pages of its version."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
SHOW = """\
import sys
sys.path.insert(0, sys.argv[1])
from worker.telemetry.web import frame, runbook_pages
assert runbook_pages.__file__.startswith(sys.argv[1]), runbook_pages.__file__
assert "prefers-color-scheme" in frame.style()
for name in sorted(runbook_pages.texts()):
    assert runbook_pages.runbook_page(name)
    print(name)
"""


def test_an_installed_worker_has_every_page(tmp_path: Path) -> None:
    """From the tree to the source archive to the wheel: none is missing, and each can be shown."""
    building = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path)]
    subprocess.run([*building, str(REPOSITORY)], check=True, capture_output=True, cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(site)
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "config",
        "producers",
        "worker",
    }
    shown = subprocess.run(
        [sys.executable, "-P", "-c", SHOW, str(site)],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    written = {path.stem for path in (REPOSITORY / "docs" / "runbook").glob("*.md")} - {"README"}
    assert set(shown.stdout.split()) == written
    assert written
