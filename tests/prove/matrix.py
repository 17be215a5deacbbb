"""The rows of the proof, as ``matrix.toml`` lists them."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MATRIX = Path(__file__).with_name("matrix.toml")


@dataclass(frozen=True, slots=True)
class Row:
    """What is varied: the limit a minute, the processes, what disturbs them, ledger and way in."""

    limit: int
    processes: int
    disturbance: str
    ledger: str
    broker: str

    @property
    def name(self) -> str:
        """A name that no other row has, for the command, folders and tables."""
        return f"{self.limit}-{self.processes}-{self.disturbance}-{self.ledger}"

    @property
    def cost(self) -> int:
        """How much of two cores it takes, in tenths: a mail costs twice as much on PostgreSQL."""
        mails = {30: 0, 600: 1, 6000: 6}[self.limit]
        return 1 + self.processes // 4 + mails * (2 if self.ledger == "postgresql" else 1)


def read_matrix() -> tuple[list[Row], dict[str, list[Any]]]:
    """The rows in the order of the file, and the values that each column can have."""
    data = tomllib.loads(MATRIX.read_text("utf-8"))
    rows = [
        Row(disturbance=disturbance, **row)
        for disturbance, listed in data["rows"].items()
        for row in listed
    ]
    return rows, data["values"]


__all__ = ["Row", "read_matrix"]
