"""The files that a settings file points at: secrets and certificates, read once, remembered by stat."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

Signature = tuple[int, int, int, int]
"""Modification and change time (ns), size and inode: one of them differs after any edit, rename,
change of mode, or swap of a symbolic link."""

_MAX_SECRET_BYTES: Final = 65_536


def signature(path: Path) -> Signature | None:
    """What tells one state of a file or folder from the next; None where there is none."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


def open_to_others(path: Path) -> bool:
    """Whether group or others may read the file."""
    return _is_open(path.stat().st_mode)


def _is_open(mode: int) -> bool:
    return bool(mode & (stat.S_IRGRP | stat.S_IROTH))


class Files:
    """Reads the files that one settings file points at.

    Args:
        mounted: the secrets directory, whose modes the platform decides.

    Attributes:
        seen: each path that was asked for, with its signature from before it was read.
    """

    def __init__(self, mounted: Path | None = None) -> None:
        self._mounted = mounted
        self.seen: dict[Path, Signature | None] = {}

    def secret(self, path: Path) -> str:
        """The secret in a file, without its last line end.

        Raises:
            ValueError: it cannot be read, is empty, or group or others may read it too.
        """
        text, others = self._read(path)
        if others:
            raise ValueError(
                "others can read this file: chmod 600, or mount it as POSTMETER_SECRETS"
            )
        return text

    def mounted_secret(self, path: Path) -> str:
        """The same for a file of the secrets directory, whose modes the platform decides.

        Raises:
            ValueError: it cannot be read or is empty.
        """
        return self._read(path)[0]

    def certificates(self, path: Path) -> None:
        """Check that the file holds certificates in PEM form; with a private key it is a secret.

        Raises:
            ValueError: it does not; or it holds a private key too, group or others can read it, and
                it does not lie in the secrets directory.
        """
        text, others = self._read(path, limit=None)
        if "-----BEGIN CERTIFICATE-----" not in text:
            raise ValueError("this file holds no certificate in PEM form")
        if "PRIVATE KEY-----" in text and others and not self._is_mounted(path):
            raise ValueError(
                "it holds a private key that others can read: chmod 600, or put it into the folder"
                " POSTMETER_SECRETS"
            )

    def exposed(self, path: Path) -> bool:
        """Whether group or others may read a settings file."""
        self.seen[path] = signature(path)
        return self.seen[path] is not None and open_to_others(path)

    def _is_mounted(self, path: Path) -> bool:
        """Whether the file lies in the secrets directory, wherever a link to it may lie."""
        folder = self._mounted
        if folder is None or not folder.is_dir():
            return False
        return path.resolve().is_relative_to(folder.resolve())

    def _read(self, path: Path, limit: int | None = _MAX_SECRET_BYTES) -> tuple[str, bool]:
        """What the file holds, and whether group or others may read that very file too."""
        self.seen[path] = signature(path)
        try:
            with path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                content = file.read()
        except OSError as error:
            raise ValueError(f"cannot read this file ({error.strerror})") from None
        if limit is not None and len(content) > limit:
            raise ValueError(f"this file is longer than {limit} bytes: no secret")
        try:
            text = content.decode().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            raise ValueError("this file is not UTF-8 text") from None
        if not text:
            raise ValueError("this file is empty")
        return text, _is_open(mode)
