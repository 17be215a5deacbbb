"""Whether this process is alive, and whether mail can be delivered; pure."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.ledger.overview import WorkerRecord

STALLED_SECONDS = 15.0
"""A loop that runs every second and has not for so long will not run again."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer of a health check, with one line of why."""

    ok: bool
    why: str

    @property
    def status(self) -> str:
        """The HTTP status line's code and words."""
        return "200 OK" if self.ok else "503 Service Unavailable"

    def as_json(self) -> bytes:
        """The answer for programs."""
        return json.dumps(asdict(self), ensure_ascii=False).encode() + b"\n"

    def as_text(self) -> bytes:
        """The answer for people."""
        return f"{self.why}\n".encode()


def liveness(loop_silent_seconds: float) -> Verdict:
    """Judge whether the process still does its rounds."""
    if loop_silent_seconds > STALLED_SECONDS:
        return Verdict(ok=False, why=f"the loop has stood still for {loop_silent_seconds:.0f} s")
    return Verdict(ok=True, why="alive")


def readiness(*, stopping: bool, ledger_trouble: str, workers: Sequence[WorkerRecord]) -> Verdict:
    """Judge whether mail can be delivered now.

    Args:
        ledger_trouble: why the ledger cannot be read; empty while it can.
        workers: those of this worker's processes that have a lease, dead ones included. Another
            host's say nothing about whether this one delivers.
    """
    if stopping:
        return Verdict(ok=False, why="stopping")
    if ledger_trouble:
        return Verdict(ok=False, why=ledger_trouble)
    alive = [worker for worker in workers if worker.alive]
    if not alive:
        return Verdict(ok=False, why="no worker process is alive")
    ready = sum(not worker.trouble for worker in alive)
    if not ready:
        return Verdict(ok=False, why=f"no worker is ready: {alive[0].trouble}")
    return Verdict(ok=True, why=f"{ready} of {len(alive)} workers ready")
