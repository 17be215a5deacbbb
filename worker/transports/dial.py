"""From a name and a port to a TCP connection, each step with a name of its own."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

from worker.transports.reasons import CONNECTING, FINDING

if TYPE_CHECKING:
    from collections.abc import Callable


async def dial(
    host: str, port: int, limit_seconds: float, now_doing: Callable[[str], None]
) -> socket.socket:
    """Connect to the first address of a host that answers.

    An address that does not answer has its share of the time, so that one dead address of many (an
    IPv6 address behind a firewall, say) does not make the host unreachable.

    Args:
        limit_seconds: what all addresses share; the caller ends the last one's.
        now_doing: told each step as it begins.

    Raises:
        socket.gaierror: the name has no address.
        OSError: no address took the connection; what the last one said.
    """
    now_doing(FINDING)
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    now_doing(CONNECTING)
    for family, kind, protocol, _, address in found[:-1]:
        try:
            async with asyncio.timeout(limit_seconds / len(found)):
                return await _connect(family, kind, protocol, address)
        except OSError:  # TimeoutError is one
            continue
    family, kind, protocol, _, address = found[-1]
    return await _connect(family, kind, protocol, address)


async def _connect(
    family: socket.AddressFamily, kind: socket.SocketKind, protocol: int, address: tuple[Any, ...]
) -> socket.socket:
    made = socket.socket(family, kind, protocol)
    try:
        made.settimeout(0)
        await asyncio.get_running_loop().sock_connect(made, address)
    except BaseException:
        made.close()
        raise
    return made
