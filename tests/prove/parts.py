"""Everything that ``make prove`` runs, each part by its name: rows, neighbours, control, peers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from tests.prove.control import run_control
from tests.prove.matrix import read_matrix
from tests.prove.neighbours import run_neighbours, run_turns
from tests.prove.peers.run import PEERS, run_peer
from tests.prove.rows import run_row

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ALONE = 100
"""The cost of what times single mails: nothing else may run beside it."""
PEER_LIMITS = (120, 600)
LEDGERS = ("sqlite", "postgresql")


@dataclass(frozen=True, slots=True)
class Part:
    """One thing to run; it takes a folder and returns a dataclass with ``failures``."""

    name: str
    cost: int
    run: Callable[[Path], Any]
    peer: bool = False


def all_parts() -> list[Part]:
    """Every part, in the order of the page."""
    rows, _ = read_matrix()
    return [
        *(Part(row.name, row.cost, partial(run_row, row)) for row in rows),
        Part("neighbours", ALONE, run_neighbours),
        Part("turns", ALONE, partial(run_turns, "sqlite")),
        Part("turns-postgresql", ALONE, partial(run_turns, "postgresql")),
        *(Part(f"control-{name}", ALONE, partial(run_control, name)) for name in LEDGERS),
        *(
            Part(f"peer-{peer.name}-{limit}", peer.cost, partial(run_peer, peer, limit), peer=True)
            for peer in PEERS
            for limit in PEER_LIMITS
        ),
    ]


def run_part(part: Part, folder: Path) -> dict[str, Any]:
    """Run one; its result with its name, as JSON can say it."""
    return {"name": part.name, **asdict(part.run(folder))}


__all__ = ["Part", "all_parts", "run_part"]
