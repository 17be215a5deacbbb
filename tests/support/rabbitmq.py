"""A private RabbitMQ: its own ports, its own epmd, its own folder, gone without a trace.

Used by tests, by ``make demo BROKER=rabbitmq`` and by the proof, so nothing here needs pytest.
It never looks at ``POSTMETER_BROKER_URL``.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, get_args

import pika
import pika.exceptions

from producers.topology import QueueType
from tests.support.private_server import (
    HERE,
    PrivateServer,
    end_group,
    free_port,
    wait_for_port,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "MISSING",
    "QUEUE_TYPE",
    "QUEUE_TYPES",
    "ROOT",
    "RabbitServer",
    "free_port",
    "unique_prefix",
]
MISSING = "no RabbitMQ here: install rabbitmq-server (Debian: apt-get install rabbitmq-server)"
QUEUE_TYPES: tuple[QueueType, ...] = tuple(
    kind
    for kind in get_args(QueueType)
    if os.environ.get("RABBITMQ_QUEUE_TYPE") in {kind, "", None}
)
"""What tests of queues try: both types, or the one that ``RABBITMQ_QUEUE_TYPE`` names."""
QUEUE_TYPE: QueueType = QUEUE_TYPES[0]
"""The queues of the other tests: quorum, or the one that ``RABBITMQ_QUEUE_TYPE`` names."""
ROOT = Path(os.environ.get("RABBITMQ_ROOT") or HERE)
"""Where RabbitMQ is installed: another Debian's root is how another release is tested."""
_SERVER_PATTERN = "usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server"
_EPMD = "usr/bin/epmd"
_CONFIG = """\
listeners.tcp.1 = 127.0.0.1:{port}
disk_free_limit.absolute = 50MB
vm_memory_high_watermark.absolute = 1GB
raft.wal_max_size_bytes = 64000000
log.file.level = warning
"""
# When the process that started the server is killed, its end of the pipe closes: clean up then.
_WATCHDOG = 'read -r _ || { kill -9 "-$1" "-$2"; rm -rf -- "$3"; } 2>/dev/null'


def unique_prefix(name: str = "test") -> str:
    """A queue prefix that no other test uses, such as ``test-3f9a1c.``."""
    return f"{name}-{secrets.token_hex(4)}."


class RabbitServer(PrivateServer):
    """One RabbitMQ node that belongs to the caller alone; a context manager.

    ``stop`` ends it politely, ``kill`` as a power cut would; ``start`` brings it back on the same
    port with what it had stored. ``close`` also removes its folder.
    """

    title: ClassVar[str] = "RabbitMQ"

    def __init__(self) -> None:
        super().__init__("rabbitmq", ROOT)
        self._node = f"postmeter-{secrets.token_hex(4)}@localhost"
        self._dist_port = free_port()
        self._epmd_port = free_port()
        self._epmd: subprocess.Popen[bytes] | None = None
        self._prepare()

    @staticmethod
    def executable() -> Path | None:
        """The server's own start script as seen from inside its root, or None."""
        found = max(ROOT.glob(_SERVER_PATTERN), default=None)
        return None if found is None else HERE / found.relative_to(ROOT)

    @classmethod
    def available(cls) -> bool:
        """Whether this machine has a RabbitMQ to start."""
        return cls.executable() is not None and (ROOT / _EPMD).is_file()

    @property
    def url(self) -> str:
        """Where to connect, with the user that RabbitMQ makes for the local machine."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/%2F"

    @property
    def epmd_pid(self) -> int | None:
        """The process id of its own epmd, while there is one."""
        return None if self._epmd is None else self._epmd.pid

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
        done = subprocess.run(
            self._within([str(_script().with_name("rabbitmqctl")), "-q", *arguments]),
            env=self._environment(),
            cwd=self.folder,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout

    def _command(self) -> list[str]:
        script = _script()
        if self._epmd is None:
            self._epmd = self._spawn(str(HERE / _EPMD), "-port", str(self._epmd_port))
            wait_for_port(self._epmd_port, 30.0)
        return [str(script)]

    def _watchdog_command(self) -> list[str]:
        return [_WATCHDOG, "watchdog", str(self.pid), str(self.epmd_pid), str(self.folder)]

    def _close(self) -> None:
        self.stop()
        if self._epmd is not None:
            end_group(self._epmd, signal.SIGKILL, 10.0)
            self._epmd = None

    def _prepare(self) -> None:
        """Write the node's configuration and hand the folder to the user that runs it."""
        (self.folder / "rabbitmq.conf").write_text(_CONFIG.format(port=self.port), "utf-8")
        (self.folder / "enabled_plugins").write_text("[].\n", "utf-8")
        cookie = self.folder / ".erlang.cookie"
        cookie.write_text(secrets.token_hex(16), "ascii")
        cookie.chmod(0o600)
        (self.folder / "output").touch()
        self._hand_over()

    def _environment(self) -> dict[str, str]:
        folder = self.inside
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

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1.0).close()  # pika would log it
            with self.channel():
                return True
        except (pika.exceptions.AMQPError, OSError):
            return False


def _script() -> Path:
    executable = RabbitServer.executable()
    if executable is None:
        raise RuntimeError(MISSING)
    return executable
