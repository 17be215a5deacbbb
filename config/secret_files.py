"""The files that a settings file points at: secrets and certificates, read once, remembered by stat."""

from __future__ import annotations

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
    return bool(path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))


class Files:
    """Reads the files that one settings file points at.

    Attributes:
        seen: each path that was asked for, with its signature from before it was read.
    """

    def __init__(self) -> None:
        self.seen: dict[Path, Signature | None] = {}

    def secret(self, path: Path) -> str:
        """The secret in a file, without its last line end.

        Raises:
            ValueError: it cannot be read, is empty, or group or others may read it too.
        """
        text = self._text(path)
        if open_to_others(path):
            raise ValueError(
                "others can read this file: chmod 600, or mount it as POSTMETER_SECRETS"
            )
        return text

    def mounted_secret(self, path: Path) -> str:
        """The same for a file of the secrets directory, whose modes the platform decides.

        Raises:
            ValueError: it cannot be read or is empty.
        """
        return self._text(path)

    def certificates(self, path: Path) -> None:
        """Check that the file holds certificates in PEM form.

        Raises:
            ValueError: it does not.
        """
        if "-----BEGIN CERTIFICATE-----" not in self._text(path, limit=None):
            raise ValueError("this file holds no certificate in PEM form")

    def exposed(self, path: Path) -> bool:
        """Whether group or others may read a settings file."""
        self.seen[path] = signature(path)
        return self.seen[path] is not None and open_to_others(path)

    def _text(self, path: Path, limit: int | None = _MAX_SECRET_BYTES) -> str:
        self.seen[path] = signature(path)
        try:
            content = path.read_bytes()
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
        return text
