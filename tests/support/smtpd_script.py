"""The words a scripted SMTP server is told with, and those it reports in."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Drop:
    """Cut the connection instead of replying; with ``after``, right behind that reply."""

    after: str | None = None


@dataclass(frozen=True)
class Delay:
    """Wait, reading nothing, then do ``then`` (absent: the usual reply)."""

    seconds: float
    then: Action | None = None


@dataclass(frozen=True)
class Raw:
    """Send these bytes as they are."""

    data: bytes


@dataclass(frozen=True)
class Silence:
    """Never reply; the connection stays open."""


Action = str | Drop | Delay | Raw | Silence


@dataclass
class Rule:
    """One scripted action: where, for which argument, how often."""

    step: str
    action: Action
    when: str = ""
    times: int | None = None


@dataclass(frozen=True)
class Accepted:
    """One mail, with the time (``time.monotonic``) at which its acceptance was sent."""

    sender: str
    recipients: list[str]
    content: bytes
    at: float
    session: Session
    mail_command: str


@dataclass
class Session:
    """One connection, as the server saw it."""

    number: int
    transcript: list[str] = field(default_factory=list)
    user: str | None = None
    tls_version: str | None = None
    open: bool = True
    content_bytes: int = 0
