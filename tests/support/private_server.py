"""A server that belongs to the caller alone: own folder, own port, gone without a trace.

Shared by the private RabbitMQ and the private PostgreSQL; nothing here needs pytest.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

if TYPE_CHECKING:
    from collections.abc import Iterable

HERE = Path("/")
"""The root of the system that runs the tests."""
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_FIRST_PORT = 10_000


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now.

    It is none of those that the system gives to outgoing connections: one of them would take the
    port while its server restarts.

    Raises:
        RuntimeError: many were tried, and all are in use.
    """
    first = int(_EPHEMERAL.read_text("ascii").split()[0]) if _EPHEMERAL.exists() else 32_768
    below = max(first, 2 * _FIRST_PORT)
    for _ in range(100):
        port = _FIRST_PORT + secrets.randbelow(below - _FIRST_PORT)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError(f"no free port of 127.0.0.1 between {_FIRST_PORT} and {below}")


def wait_for_port(port: int, timeout_seconds: float) -> None:
    """Wait until a port of 127.0.0.1 accepts connections.

    Raises:
        RuntimeError: nothing listens on it in time.
    """
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
            return
        time.sleep(0.02)
    raise RuntimeError(f"nothing listens on port {port} after {timeout_seconds:g} s")


def end_group(process: subprocess.Popen[bytes], first: signal.Signals, seconds: float) -> None:
    """Signal a process, wait, then make sure that nothing of its group is left."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGCONT)
        os.kill(process.pid, first)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(10.0)


class PrivateServer(ABC):
    """One server process; a context manager.

    ``start`` brings it back on the same port with what it had stored; ``close`` also removes its
    folder. When the process that started it is killed, a shell that waits for that cleans up.

    Args:
        system_user: who runs it when root starts it; else it runs as the caller.
        root: where its programs are installed, if not in ``/``; it then runs inside, which takes
            root's rights.
    """

    title: ClassVar[str]
    """What messages call it."""

    def __init__(self, system_user: str, root: Path = HERE) -> None:
        self.port = free_port()
        name = f"postmeter-{self.title.lower()}-"
        self.folder = Path(tempfile.mkdtemp(prefix=name, dir=root / "tmp"))
        self._root = root
        self._ids = _ids(root, system_user) if os.geteuid() == 0 else None
        self._server: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The server's process id.

        Raises:
            RuntimeError: it is not running.
        """
        if self._server is None:
            raise RuntimeError(f"this {self.title} is not running")
        return self._server.pid

    @property
    def inside(self) -> Path:
        """Its folder as its own processes see it."""
        return HERE / self.folder.relative_to(self._root)

    @property
    def log(self) -> str:
        """Everything it has written to its output so far."""
        return (self.folder / "output").read_text("utf-8", "replace")

    def start(self, timeout_seconds: float = 60.0) -> Self:
        """Start the server and wait until it accepts connections.

        Raises:
            RuntimeError: it ended or did not answer in time; the message ends with its log.
        """
        if self._server is not None:
            return self
        try:
            self._server = self._spawn(*self._command())
        except BaseException:
            self.close()
            raise
        self._watchdog = subprocess.Popen(
            ["/bin/sh", "-c", *self._watchdog_command()],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        deadline = time.monotonic() + timeout_seconds
        while not self._answers():
            if self._server.poll() is not None or time.monotonic() > deadline:
                log = self.log[-2000:]
                self._end(signal.SIGKILL, 10.0)
                self.close()
                raise RuntimeError(f"{self.title} did not start: {log}")
            time.sleep(0.1)
        return self

    def close(self) -> None:
        """Stop the server and remove its folder; safe to call twice."""
        self._close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def _command(self) -> list[str]:
        """The server's own command, after whatever must run before it."""

    @abstractmethod
    def _watchdog_command(self) -> list[str]:
        """A shell script and its arguments: wait for standard input to close, then clean up."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether the server accepts clients now."""

    @abstractmethod
    def _close(self) -> None:
        """End the server, and whatever runs beside it."""

    @abstractmethod
    def _environment(self) -> dict[str, str]:
        """What the server's processes find in their environment."""

    def _spawn(self, *command: str) -> subprocess.Popen[bytes]:
        with (self.folder / "output").open("ab") as output:
            return subprocess.Popen(
                self._within(command),
                env=self._environment(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _within(self, command: Iterable[str]) -> list[str]:
        """A command as the server's user, inside its root; the process stays the same one."""
        command = [str(part) for part in command]
        if self._root != HERE:
            users = [] if self._ids is None else [f"--userspec={self._ids[0]}:{self._ids[1]}"]
            return ["/usr/sbin/chroot", *users, "--groups=", str(self._root), *command]
        if self._ids is None:
            return command
        return [
            *("/usr/bin/setpriv", f"--reuid={self._ids[0]}", f"--regid={self._ids[1]}"),
            *("--clear-groups", *command),
        ]

    def _hand_over(self) -> None:
        """Give the folder and what is in it to the user that runs the server."""
        if self._ids is not None:
            for path in (self.folder, *self.folder.iterdir()):
                os.chown(path, *self._ids)

    def _end(self, first: signal.Signals, timeout_seconds: float) -> None:
        if self._watchdog is not None:
            self._watchdog.communicate(b"done\n")
            self._watchdog = None
        if self._server is not None:
            end_group(self._server, first, timeout_seconds)
            self._server = None


def _ids(root: Path, name: str) -> tuple[int, int]:
    """The user and group id that a system under ``root`` has for a user."""
    for line in (root / "etc/passwd").read_text("utf-8").splitlines():
        fields = line.split(":")
        if fields[0] == name:
            return int(fields[2]), int(fields[3])
    raise RuntimeError(f"{root / 'etc/passwd'} has no user {name}")
