"""Servers that are restarted in mid-row, and so need ports that nobody takes meanwhile.

Where a port is free, the system may give it to any connection as its own end: to one of the workers
that try to reach the server on it, too. So these ports lie below those given out like that.
"""

from __future__ import annotations

import secrets
import socket
from contextlib import suppress
from pathlib import Path

from tests.support.postgresql import PostgresServer
from tests.support.rabbitmq import RabbitServer

_GIVEN_OUT = Path("/proc/sys/net/ipv4/ip_local_port_range")
_FIRST = 15_000
_TRIES = 1_000


def lasting_port() -> int:
    """A free TCP port of 127.0.0.1 that is no connection's own end.

    Raises:
        RuntimeError: none was found.
    """
    below = int(_GIVEN_OUT.read_text().split()[0]) if _GIVEN_OUT.exists() else 32_768
    for _ in range(_TRIES):
        port = _FIRST + secrets.randbelow(below - _FIRST)
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError(f"no free port of 127.0.0.1 between {_FIRST} and {below}")


class LastingRabbit(RabbitServer):
    """A private RabbitMQ that finds its port free after a restart."""

    def __init__(self) -> None:
        super().__init__()
        self.port = lasting_port()
        self._prepare()


class LastingPostgres(PostgresServer):
    """A private PostgreSQL that flushes to the disk and finds its port free after a restart."""

    def __init__(self) -> None:
        super().__init__(durable=True)
        self.port = lasting_port()


__all__ = ["LastingPostgres", "LastingRabbit", "lasting_port"]
