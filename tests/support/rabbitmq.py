"""A private RabbitMQ: its own ports, its own epmd, its own folder, gone without a trace.

Used by tests, by ``make demo BROKER=rabbitmq`` and by the proof, so nothing here needs pytest.
It never looks at ``POSTMETER_BROKER_URL``.
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
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pika
import pika.exceptions

if TYPE_CHECKING:
    from collections.abc import Iterator

MISSING = "no RabbitMQ here: install rabbitmq-server (Debian: apt-get install rabbitmq-server)"
_SERVER_PATTERN = "/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server"
_CONFIG = """\
listeners.tcp.1 = 127.0.0.1:{port}
disk_free_limit.absolute = 50MB
vm_memory_high_watermark.absolute = 1GB
raft.wal_max_size_bytes = 64000000
log.file.level = warning
"""
# When the process that started the server is killed, its end of the pipe closes: clean up then.
_WATCHDOG = 'read -r _ || { kill -9 "-$1" "-$2"; rm -rf -- "$3"; } 2>/dev/null'


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def unique_prefix(name: str = "test") -> str:
    """A queue prefix that no other test uses, such as ``test-3f9a1c.``."""
    return f"{name}-{secrets.token_hex(4)}."


class RabbitServer:
    """One RabbitMQ node that belongs to the caller alone.

    A context manager. ``stop`` ends it politely, ``kill`` as a power cut would; ``start`` brings
    it back on the same port with what it had stored. ``close`` also removes its folder.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self._node = f"postmeter-{secrets.token_hex(4)}@localhost"
        self._dist_port = free_port()
        self._epmd_port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="postmeter-rabbitmq-", dir="/tmp"))
        self._server: subprocess.Popen[bytes] | None = None
        self._epmd: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None
        self._user = "rabbitmq" if os.geteuid() == 0 else None
        self._prepare()

    @staticmethod
    def executable() -> Path | None:
        """Where the server's own start script is, or None."""
        return max(Path("/").glob(_SERVER_PATTERN.lstrip("/")), default=None)

    @classmethod
    def available(cls) -> bool:
        """Whether this machine has a RabbitMQ to start."""
        return cls.executable() is not None and shutil.which("epmd") is not None

    @property
    def url(self) -> str:
        """Where to connect, with the user that RabbitMQ makes for the local machine."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/%2F"

    @property
    def pid(self) -> int:
        """The server's process id.

        Raises:
            RuntimeError: it is not running.
        """
        if self._server is None:
            raise RuntimeError("this RabbitMQ is not running")
        return self._server.pid

    @property
    def epmd_pid(self) -> int | None:
        """The process id of its own epmd, while there is one."""
        return None if self._epmd is None else self._epmd.pid

    def start(self, timeout_seconds: float = 60.0) -> Self:
        """Start the server and wait until it accepts connections.

        Raises:
            RuntimeError: it ended or did not answer in time; the message ends with its log.
        """
        if self._server is not None:
            return self
        executable = self.executable()
        if executable is None:
            raise RuntimeError(MISSING)
        if self._epmd is None:
            epmd = shutil.which("epmd") or "epmd"
            self._epmd = self._spawn([epmd, "-port", str(self._epmd_port)])
            _wait_for_port(self._epmd_port, 10.0)
        self._server = self._spawn([str(executable)])
        self._watchdog = subprocess.Popen(
            ["/bin/sh", "-c", _WATCHDOG, "watchdog"]  # noqa: RUF005 the command, and what it is about
            + [str(self._server.pid), str(self._epmd.pid), str(self.folder)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        deadline = time.monotonic() + timeout_seconds
        while not self._answers():
            if self._server.poll() is not None or time.monotonic() > deadline:
                log = (self.folder / "output").read_text("utf-8", "replace")[-2000:]
                self.kill()
                self.close()
                raise RuntimeError(f"RabbitMQ did not start: {log}")
            time.sleep(0.1)
        return self

    def stop(self, timeout_seconds: float = 30.0) -> None:
        """End the server politely; what is durable stays for the next ``start``."""
        self._end(signal.SIGTERM, timeout_seconds)

    def kill(self) -> None:
        """End the server at once, as a power cut would."""
        self._end(signal.SIGKILL, 10.0)

    def restart(self) -> None:
        """``stop`` and ``start``."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze the server: connections stay, nothing answers. ``resume`` ends it."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen server go on."""
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """Stop the server and its epmd and remove their folder; safe to call twice."""
        self.stop()
        if self._epmd is not None:
            _end_group(self._epmd, signal.SIGKILL, 10.0)
            self._epmd = None
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextlib.contextmanager
    def channel(self) -> Iterator[Any]:
        """A pika channel on a connection of its own, closed afterwards."""
        connection = pika.BlockingConnection(pika.URLParameters(self.url))
        try:
            yield connection.channel()
        finally:
            if connection.is_open:
                connection.close()

    def queue_depth(self, name: str) -> int:
        """How many messages lie ready in a queue.

        Raises:
            pika.exceptions.ChannelClosedByBroker: there is no such queue.
        """
        with self.channel() as channel:
            return int(channel.queue_declare(name, passive=True).method.message_count)

    def messages(self, name: str) -> list[bytes]:
        """Take every message out of a queue."""
        bodies: list[bytes] = []
        with self.channel() as channel:
            waiting = int(channel.queue_declare(name, passive=True).method.message_count)
            if waiting:
                for _, _, body in channel.consume(name, auto_ack=True):
                    bodies.append(body)
                    if len(bodies) >= waiting:
                        break
        return bodies

    def delete_queues(self, *names: str) -> None:
        """Delete queues; those that do not exist are no matter."""
        with self.channel() as channel:
            for name in names:
                channel.queue_delete(name)

    def ctl(self, *arguments: str) -> str:
        """Run ``rabbitmqctl`` against this server alone; returns what it wrote.

        Raises:
            subprocess.CalledProcessError: it failed.
        """
        executable = self.executable()
        if executable is None:
            raise RuntimeError(MISSING)
        done = subprocess.run(
            [str(executable.with_name("rabbitmqctl")), "-q", *arguments],
            env=self._environment(),
            cwd=self.folder,
            user=self._user,
            group=self._user,
            extra_groups=None if self._user is None else [],
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _prepare(self) -> None:
        """Write the node's configuration and hand the folder to the user that runs it."""
        (self.folder / "rabbitmq.conf").write_text(_CONFIG.format(port=self.port), "utf-8")
        (self.folder / "enabled_plugins").write_text("[].\n", "utf-8")
        cookie = self.folder / ".erlang.cookie"
        cookie.write_text(secrets.token_hex(16), "ascii")
        cookie.chmod(0o600)
        (self.folder / "output").touch()
        if self._user is not None:
            for path in (self.folder, *self.folder.iterdir()):
                shutil.chown(path, self._user, self._user)

    def _environment(self) -> dict[str, str]:
        folder = self.folder
        return {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_CRASH_DUMP_SECONDS": "0",
            "RABBITMQ_NODENAME": self._node,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            # No busy-waiting schedulers: tests share few cores.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none +sbwtdcpu none",
            # The start script then replaces itself by the server, so that signals reach it.
            "RUNNING_UNDER_SYSTEMD": "true",
        }

    def _spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        with (self.folder / "output").open("ab") as output:
            return subprocess.Popen(
                command,
                env=self._environment(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=self._user,
                group=self._user,
                extra_groups=None if self._user is None else [],
            )

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1.0).close()  # pika would log it
            with self.channel():
                return True
        except (pika.exceptions.AMQPError, OSError):
            return False

    def _end(self, first: signal.Signals, timeout_seconds: float) -> None:
        if self._watchdog is not None:
            self._watchdog.communicate(b"done\n")
            self._watchdog = None
        if self._server is not None:
            _end_group(self._server, first, timeout_seconds)
            self._server = None


def _wait_for_port(port: int, timeout_seconds: float) -> None:
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
            return
        time.sleep(0.02)
    raise RuntimeError(f"nothing listens on port {port} after {timeout_seconds:g} s")


def _end_group(process: subprocess.Popen[bytes], first: signal.Signals, seconds: float) -> None:
    """Signal a process, wait, then make sure that nothing of its group is left."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGCONT)
        os.kill(process.pid, first)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(10.0)
