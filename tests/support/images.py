"""Builds the worker's image with Debian's buildah, without Docker and without a registry; needs root.

The base that ``deploy/Dockerfile`` asks for is made by debootstrap and tagged with its name, and the
pinned wheels are downloaded on this machine, in the way that pip is set up here. So nothing of how
this machine reaches Debian and the package index gets into a Dockerfile.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

REPOSITORY: Final = Path(__file__).parents[2]
DOCKERFILE: Final = REPOSITORY / "deploy" / "Dockerfile"
BASE: Final = "docker.io/library/debian:bookworm-slim"
KEPT_BASE: Final = Path("/var/tmp/postmeter-bookworm-slim.tar")  # noqa: S108 - of root, and no secret
"""Delete it to have Debian's newest packages in the base."""
IMAGE: Final = "localhost/postmeter/worker:test"
MISSING: Final = (
    "images need root, buildah and debootstrap (Debian: apt-get install buildah debootstrap)"
)
_LEFT_OUT: Final = ("doc", "info", "lintian", "locale", "man")
"""What Debian's -slim image leaves out of /usr/share."""


def available() -> bool:
    """Whether this machine can build an image."""
    return os.geteuid() == 0 and all(map(shutil.which, ("buildah", "debootstrap", "unshare")))


class Buildah:
    """A store of images in a folder of its own.

    ``docker.io`` is never asked: what is not in the store is missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._store = (
            *("--storage-driver", "vfs"),
            *("--root", str(folder / "store"), "--runroot", str(folder / "run")),
        )

    def __call__(self, *words: str) -> str:
        """Run one command of buildah; what it printed.

        Raises:
            RuntimeError: it failed; with the end of what it said.
        """
        done = subprocess.run(
            ["buildah", *self._store, *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder)},
        )
        if done.returncode:
            raise RuntimeError(f"buildah {words[0]}: {(done.stdout + done.stderr)[-4000:]}")
        return done.stdout.strip()

    def base(self) -> None:
        """Make the base image; its files are kept for later runs."""
        if not KEPT_BASE.exists():
            archive = make_base(self.folder)
            shutil.move(archive, KEPT_BASE.with_suffix(".moving"))
            KEPT_BASE.with_suffix(".moving").rename(KEPT_BASE)
        container = self("from", "scratch")
        self("add", "--quiet", container, str(KEPT_BASE), "/")
        self("commit", "--format", "docker", "--quiet", container, BASE)
        self("rm", container)

    def build(self, context: Path, *, tag: str = IMAGE) -> None:
        """Build the worker's image from a copy of the tree."""
        wheels = self.folder / "wheels"
        if not wheels.exists():
            download_wheels(wheels)
        configuration = self.folder / "pip.conf"
        configuration.write_text("[global]\nno-index = true\nfind-links = /run/wheels\n")
        self(
            *("build", "--isolation", "chroot", "--format", "docker", "--pull-never"),
            *("--ignorefile", str(context / "deploy/Dockerfile.dockerignore")),
            *("--file", str(context / "deploy/Dockerfile")),
            *("--secret", f"id=pip.conf,src={configuration}"),
            *("--volume", f"{wheels}:/run/wheels:ro"),
            *("--timestamp", "1767225600", "--tag", tag, str(context)),
        )

    def configuration(self, image: str = IMAGE) -> dict[str, Any]:
        """How containers of the image are to be run."""
        inspected = json.loads(self("inspect", "--type", "image", image))
        found: dict[str, Any] = inspected["Docker"]["config"]
        return found

    def unpack(self, image: str = IMAGE) -> Path:
        """The folder of the image's files."""
        return Path(self("mount", self("from", "--pull-never", image)))


def make_base(folder: Path) -> Path:
    """Make an archive of a Debian bookworm like its -slim image; 40 s."""
    root, archive = folder / "base", folder / "base.tar"
    with (folder / "debootstrap.log").open("w") as said:
        subprocess.run(
            ["debootstrap", "--variant=minbase", "bookworm", str(root)],
            stdout=said,
            stderr=said,
            check=True,
            timeout=900,
        )
    for left_out in _LEFT_OUT:
        shutil.rmtree(root / "usr/share" / left_out, ignore_errors=True)
    for package in (root / "var/cache/apt/archives").glob("*.deb"):
        package.unlink()
    subprocess.run(["tar", "-C", root, "-cf", archive, "."], check=True, timeout=300)
    shutil.rmtree(root)
    return archive


def download_wheels(folder: Path) -> None:
    """Download what ``requirements.txt`` pins, each file checked by its hash."""
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
            *("--require-hashes", "--no-deps", "--only-binary", ":all:"),
            *("--dest", str(folder), "--requirement", str(REPOSITORY / "requirements.txt")),
        ],
        check=True,
        capture_output=True,
        timeout=600,
    )


def copy_tree(target: Path) -> Path:
    """Copy what git keeps or would keep of the working tree, and what must not get into an image."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
    ).stdout
    for name in filter(None, listed.decode().split("\0")):
        source, copy = REPOSITORY / name, target / name
        if source.is_symlink() or source.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, copy, follow_symlinks=False)
    for unwanted in (
        ".git/config",
        "deploy/compose/secrets/postgres-password",
        "worker/jane.secret",
    ):
        (target / unwanted).parent.mkdir(parents=True, exist_ok=True)
        (target / unwanted).write_text(UNWANTED)
    return target


UNWANTED: Final = "this must not get into an image\n"
