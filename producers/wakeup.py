"""Waking consumers of the embedded inbox without polling: one datagram socket for each.

A consumer binds a socket in the inbox's folder; whoever stores a message sends a byte to every
socket there. A byte that gets lost costs a consumer only the time until it looks again.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_PROC = Path("/proc/self/fd")
_DRAIN = 64


class WakeUp:
    """One consumer's socket.

    Raises:
        OSError: it cannot be made in that folder.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / uuid.uuid4().hex
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)  # noqa: FBT003 the socket module's own signature
        with _short(folder) as short:
            self._socket.bind(f"{short}/{self._path.name}")

    def wait(self, timeout_seconds: float) -> bool:
        """Wait until something was stored; False after the time-out. Look again in any case."""
        ready, _, _ = select.select([self._socket], [], [], max(0.0, timeout_seconds))
        if not ready:
            return False
        with contextlib.suppress(BlockingIOError):
            for _ in range(_DRAIN):
                self._socket.recv(16)
        return True

    def fileno(self) -> int:
        """For an event loop: readable when something was stored."""
        return self._socket.fileno()

    def wake(self) -> None:
        """End a ``wait`` of another thread."""
        notify(self._path.parent)

    def close(self) -> None:
        """Remove the socket; safe to call twice."""
        self._socket.close()
        self._path.unlink(missing_ok=True)


def notify(folder: Path) -> None:
    """Send a byte to every consumer of this folder, and remove the sockets of dead ones."""
    with (
        contextlib.suppress(FileNotFoundError),
        _short(folder) as short,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender,
    ):
        sender.setblocking(False)  # noqa: FBT003 the socket module's own signature
        for name in os.listdir(folder):  # noqa: PTH208 names alone are wanted, on every put
            try:
                sender.sendto(b"\0", f"{short}/{name}")
            except ConnectionRefusedError:
                (folder / name).unlink(missing_ok=True)
            except OSError:
                continue  # its buffer is full: it has been woken already


@contextlib.contextmanager
def _short(folder: Path) -> Iterator[str]:
    """A short name of a folder: a socket's path may have 107 bytes only."""
    if not _PROC.is_dir():
        yield str(folder)
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"{_PROC}/{descriptor}"
    finally:
        os.close(descriptor)
