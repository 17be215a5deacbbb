"""What each peer does with a mail, and how it knows its task: the standard library alone.

The variables are set by ``tests/prove/peers/run.py``.
"""

from __future__ import annotations

import os
import smtplib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Task:
    """What a peer is asked to do: so many mails a minute, to a server on this machine."""

    limit: int
    broker_url: str
    redis_url: str
    smtp_port: int
    limiter: str

    @classmethod
    def from_environment(cls) -> Task:
        """Read the variables."""
        return cls(
            limit=int(os.environ["PEER_LIMIT"]),
            broker_url=os.environ["PEER_BROKER_URL"],
            redis_url=os.environ["PEER_REDIS_URL"],
            smtp_port=int(os.environ["PEER_SMTP_PORT"]),
            limiter=os.environ["PEER_LIMITER"],
        )


def deliver(number: int, smtp_port: int) -> None:
    """Send one mail on a connection of its own, as the usual task does."""
    lines = [
        "From: robot@acme.example",
        f"To: customer{number}@mail.example",
        f"Subject: Invoice {number}",
        f"Message-ID: <{number}@peer.example>",
        "",
        *["Your invoice."] * 20,
    ]
    with smtplib.SMTP("127.0.0.1", smtp_port, timeout=60) as server:
        server.sendmail(
            "robot@acme.example", f"customer{number}@mail.example", "\r\n".join(lines).encode()
        )


__all__ = ["Task", "deliver"]
