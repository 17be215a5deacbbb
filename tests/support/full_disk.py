"""A disk that can be full, in the ways that this machine and its user allow."""

from __future__ import annotations

import resource
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.fleet import Fleet

_CAP_SYS_ADMIN = 21
_SIZE = "size=4m"
_BLOCK = b"x" * 4096


class Disk(Protocol):
    """Where a fleet's ledger lies."""

    folder: Path
    reason: str

    def fill(self, fleet: Fleet) -> None:
        """Let nothing be written any more."""

    def free(self, fleet: Fleet) -> None:
        """Let everything be written again."""


class SmallDisk:
    """A file system of 4 MB, mounted for the test; only root may."""

    reason = "database or disk is full"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self, fleet: Fleet) -> None:
        """Write a file until there is no room for another block."""
        with (self.folder / "filler").open("wb", buffering=0) as filler:
            try:
                while filler.write(_BLOCK):
                    pass
            except OSError:
                return

    def free(self, fleet: Fleet) -> None:
        """Remove the file."""
        (self.folder / "filler").unlink()


class SizeLimit:
    """A limit on the size of every file that a fleet's processes write; anybody may.

    SQLite names the failed write by its kind and not as a full disk.
    """

    reason = "disk I/O error"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self, fleet: Fleet) -> None:
        """Let no file grow beyond what the ledger's log has now."""
        self._limit(fleet, (self.folder / "ledger.db-wal").stat().st_size)

    def free(self, fleet: Fleet) -> None:
        """Let files grow again."""
        self._limit(fleet, resource.RLIM_INFINITY)

    def _limit(self, fleet: Fleet, size: int) -> None:
        for pid in fleet.children():
            _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))


def may_mount() -> bool:
    """Whether this process may mount file systems: a container's root often may not."""
    status = Path("/proc/self/status").read_text().splitlines()
    effective = next(line.split()[1] for line in status if line.startswith("CapEff:"))
    return bool(int(effective, 16) >> _CAP_SYS_ADMIN & 1)


KINDS = ("limit", "mount") if may_mount() else ("limit",)


@contextmanager
def open_disk(kind: str, folder: Path) -> Iterator[Disk]:
    """A disk of one of ``KINDS`` in a new folder, gone afterwards."""
    folder.mkdir(parents=True)
    if kind == "limit":
        yield SizeLimit(folder)
        return
    subprocess.run(["mount", "-t", "tmpfs", "-o", _SIZE, "tmpfs", str(folder)], check=True)
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", str(folder)], check=True)
