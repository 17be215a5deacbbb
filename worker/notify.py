"""Tells systemd how the worker is doing, where systemd asked for it: sd_notify(3).

A datagram with lines such as ``READY=1`` to the socket that ``NOTIFY_SOCKET`` names.
"""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    Notify = Callable[[str], None]
    """Takes the lines of one message."""

VARIABLE: Final = "NOTIFY_SOCKET"
READY: Final = "READY=1"


def stopping(within_seconds: float) -> str:
    """The message that the end has begun, and how long it may take before systemd kills."""
    return f"STOPPING=1\nEXTEND_TIMEOUT_USEC={round(within_seconds * 1e6)}"


def notifier(address: str | None) -> Notify:
    """What sends messages to the socket of that name; nothing where there is none.

    A name that begins with ``@`` is of the abstract namespace. A message that cannot be sent is no
    reason to deliver no mail, so it is lost without a word.
    """
    if not address:
        return lambda _: None
    name = "\0" + address[1:] if address.startswith("@") else address

    def notify(message: str) -> None:
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender,
        ):
            sender.sendto(message.encode(), name)

    return notify
