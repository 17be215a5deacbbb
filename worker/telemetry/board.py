"""How things stand, as a person sees it: what the status page and ``postmeter top`` both show.

Ids and counts only: no subject, no recipient, no word of a server. So nothing here is a secret, and
a page of it may be shown on a wall. A board is made by ``board_making.make_board``; a command reads
one after another by ``board_reading.BoardReader``, the process that serves metrics has
``Sampler.board``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

HOUR_MINUTES: Final = 60
"""How many minutes ``Scope.minutes`` tells of."""


@dataclass(frozen=True, slots=True)
class Scope:
    """One limit by the minute, beside what went through it.

    Attributes:
        id: the ledger's scope: ``company:acme``, ``system``, ``all``, ``mailbox:acme/jane``.
        limit: emails in any 60 s; None where there is none (batches without a limit).
        layer: the layer of the settings that the limit comes from; empty where there is none.
        window: accepted in the last 60 s.
        worst: the most that any 60 s held of those that are known.
        waiting: due jobs that this limit keeps waiting.
        minutes: accepted in each of the last ``HOUR_MINUTES`` minutes, the oldest first; the last
            one ends now. Fewer where the past has not been read yet.
    """

    id: str
    limit: int | None
    layer: str
    window: int
    worst: int
    waiting: int
    minutes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Day:
    """One limit by the day; ``used`` is its share that is used up, ``waiting`` as a scope's."""

    id: str
    limit: int
    layer: str
    used: float
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """What waits in one line, for one reason (a ``WaitReason``).

    Attributes:
        drain_seconds: until what is due of its company has left; None where it can't be told.
    """

    company: str
    kind: str
    reason: str
    jobs: int
    drain_seconds: float | None


@dataclass(frozen=True, slots=True)
class Holding:
    """One hold or pause; times are Unix seconds.

    Attributes:
        target: as ``account:acme/jane``; a credential's without its fingerprint.
        reason: one word (``standing.reason_word``), never a server's or a person's.
        until_at: None where a probe or a person ends it.
    """

    target: str
    reason: str
    since_at: float
    until_at: float | None


@dataclass(frozen=True, slots=True)
class Worker:
    """One worker process; ``ready`` is false while it has something to complain of."""

    host: str
    pid: int
    version: str
    started_at: float
    alive: bool
    ready: bool


@dataclass(frozen=True, slots=True)
class Board:
    """Everything at one moment; in each list, what a person should look at first comes first.

    Attributes:
        at: Unix seconds; the moment that the figures are of.
        trouble: why the ledger cannot be read or written, in a word: ``away``, ``read-only``. While
            it is away the rest is what was known last, or empty.
        oldest_due_at: since when the job that is due the longest could have gone.
        in_hand: jobs that workers have in hand now.
        dead: jobs that wait for a person's decision, by company.
        unknown: jobs of which nobody knows whether they were sent, by company.
        settings_errors: errors of the settings, by context; only those that have some.
    """

    at: float
    version: str
    trouble: str = ""
    scopes: tuple[Scope, ...] = ()
    days: tuple[Day, ...] = ()
    lines: tuple[Line, ...] = ()
    holds: tuple[Holding, ...] = ()
    workers: tuple[Worker, ...] = ()
    oldest_due_at: float | None = None
    in_hand: int = 0
    dead: tuple[tuple[str, int], ...] = ()
    unknown: tuple[tuple[str, int], ...] = ()
    settings_errors: tuple[tuple[str, int], ...] = ()
