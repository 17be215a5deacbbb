"""The capacity model: what one email costs each part, and what follows for more processes; pure.

A worker process sends as fast as its own round trips let it; all together as fast as what they share
lets them. The constants are fitted from rows of one and two processes; ``docs/capacity.md`` sets what
they predict for the others beside what was measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import mean
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MINUTE_MS: Final = 60_000.0
FULL: Final = 1.01
"""Two processes are taken to have filled SQLite's one file to about this."""
PARTS: Final = ("worker", "ledger", "broker", "server")
"""Who computes: the workers, PostgreSQL, RabbitMQ, and the receiving server."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One row.

    Attributes:
        ledger: ``sqlite`` or ``postgresql``.
        processes: that deliver, on all hosts together.
        per_second: emails accepted, while a batch without a limit was taken in and sent.
        cpu_ms: of each part, for one email.
        cores_used: of the machine's, by these parts together.
        smtp_connections: open at the end, to the receiving server.
        ledger_connections: sessions of PostgreSQL; 0 on SQLite.
        broker_connections: to RabbitMQ; 0 where the way in is a file.
        commits: of the ledger, for one email; 0 where the database does not count them.
        rss_mb: of the largest worker process.
        bytes_an_email: that the ledger has grown by, after it was sent.
        worst: the most accepted in any window, of a row with a limit beside it.
        limit: that row's.
        used: the share of it that was used.
    """

    ledger: str
    processes: int
    hosts: int
    per_second: float
    cpu_ms: Mapping[str, float]
    cores_used: float
    smtp_connections: int
    ledger_connections: int
    broker_connections: int
    commits: float
    rss_mb: float
    bytes_an_email: float
    worst: int
    limit: int
    used: float

    @property
    def all_cpu_ms(self) -> float:
        """What one email costs all parts together."""
        return sum(self.cpu_ms.values())


@dataclass(frozen=True, slots=True)
class Model:
    """What is needed to predict.

    Attributes:
        process_per_second: what one process would send if nothing were shared.
        cpu_ms: of each part, for one email.
        most_per_second: what the shared part lets through: the cores that hold all parts or, on SQLite,
            the one file that takes one commit at a time.
    """

    process_per_second: float
    cpu_ms: Mapping[str, float]
    most_per_second: float

    def per_second(self, processes: int) -> float:
        """Predict the emails a second of so many processes.

        The nearer they come to what is shared, the longer each waits for it: the two bounds are added
        as the squares of their times, which lies between "the smaller one counts" and "one after the
        other".
        """
        own = 1.0 / (processes * self.process_per_second)
        return 1.0 / math.hypot(own, 1.0 / self.most_per_second)

    def per_minute_of_a_core(self, part: str) -> float:
        """The emails a minute that one core of a part is enough for, if it does nothing else."""
        return MINUTE_MS / self.cpu_ms[part]


def fit(rows: Sequence[Measured], cores: int) -> Model:
    """Take the constants from the rows of one and of two processes on one host.

    Raises:
        ValueError: one of them is missing.
    """
    own = {row.processes: row for row in rows if row.hosts == 1}
    if not own.keys() >= {1, 2}:
        raise ValueError(f"rows of 1 and 2 processes are needed, these are {sorted(own)}")
    one, two = own[1], own[2]
    cpu = {part: mean([one.cpu_ms[part], two.cpu_ms[part]]) for part in PARTS}
    most = cores * 1000.0 / sum(cpu.values())
    if one.ledger == "sqlite":
        most = min(most, max(one.per_second, two.per_second) * FULL)
    shared, whole = 1.0 / most, 1.0 / one.per_second
    return Model(1.0 / math.sqrt(whole**2 - shared**2), cpu, most)


def error_of(row: Measured, model: Model) -> float:
    """How far the prediction is off, as a share of what was measured."""
    return model.per_second(row.processes) / row.per_second - 1.0


def binding_part(row: Measured, cores: int) -> str:
    """Say in a few words what a row is bound by; what the kernel itself computes is not counted."""
    if row.cores_used >= 0.85 * cores:
        dearest = max(row.cpu_ms, key=lambda part: row.cpu_ms[part])
        return f"the machine's {cores} cores (dearest: {dearest})"
    of_workers = row.cores_used * row.cpu_ms["worker"] / row.all_cpu_ms
    if of_workers >= 0.8 * row.processes:
        return "the workers, each of which has one core's worth to do"
    return "the ledger: its commits, one after another, and the way there"
