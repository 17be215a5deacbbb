"""What the proof writes: ``docs/proof.md``, whose words are in ``proof.md.in`` beside this file."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from tests.prove.matrix import read_matrix
from tests.support.postgresql import PostgresServer
from tests.support.rabbitmq import RabbitServer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PAGE = Path(__file__).parents[2] / "docs" / "proof.md"
_PEER_PINS = PAGE.parents[1] / "requirements-prove.txt"
_TEMPLATE = Path(__file__).with_name("proof.md.in")
_NO_RESULT = ("name", "failures")
Told = Mapping[str, Any]
"""One result as its process told it: the fields of its dataclass, and ``name``."""


def write_page(results: Sequence[Told], minutes: float) -> None:
    """Write the page anew from the results of a whole run."""
    PAGE.write_text(page(results, versions(), minutes, datetime.now(UTC)), "utf-8")


def page(
    results: Sequence[Told], programs: Mapping[str, str], minutes: float, when: datetime
) -> str:
    """The page, made of its template and the results."""
    told = {result["name"]: result for result in results if len(result) > len(_NO_RESULT)}
    rows, _ = read_matrix()
    lines = [_row(row.disturbance, row.ledger, row.broker, told.get(row.name)) for row in rows]
    failed = [result for result in results if result["failures"] and not _is_peer(result)]
    return Template(_TEMPLATE.read_text("utf-8")).substitute(
        date=f"{when:%d %B %Y}",
        programs=", ".join(f"{name} {number}" for name, number in programs.items()),
        cores=len(os.sched_getaffinity(0)),
        minutes=f"{minutes:.0f}",
        count=len(rows),
        verdict=_verdict(failed),
        rows="\n".join(line for line in lines if line),
        neighbours=_neighbours(told.get("neighbours")),
        turns=_turns(told.get("turns")),
        peers="\n".join(_peer(result) for result in results if _is_peer(result)),
    )


def versions() -> dict[str, str]:
    """What was measured, and what it ran on, by name and version."""
    found = {
        "Postmeter": version("postmeter"),
        "Python": platform.python_version(),
        "SQLite": sqlite3.sqlite_version,
    }
    rabbitmq = RabbitServer.executable()
    if rabbitmq is not None:
        found["RabbitMQ"] = rabbitmq.parents[1].name.rpartition("-")[2]
    programs = PostgresServer.programs()
    if programs is not None:
        found["PostgreSQL"] = _version_of(programs / "postgres")
    redis = shutil.which("redis-server")
    if redis is not None:
        found["Redis"] = _version_of(Path(redis))
    pins = re.findall(r"^(celery|dramatiq)==(\S+)", _PEER_PINS.read_text("utf-8"), re.MULTILINE)
    return found | {name.capitalize(): number for name, number in pins}


def _version_of(program: Path) -> str:
    """The first thing like a version that a program says of itself."""
    said = subprocess.run([str(program), "--version"], capture_output=True, text=True, check=True)
    found = re.search(r"\d+(\.\d+)+", said.stdout)
    return found[0] if found else "?"


def _is_peer(result: Told) -> bool:
    return "peer" in result


def _verdict(failed: Sequence[Told]) -> str:
    if not failed:
        return "Every row held."
    told = "\n".join(
        f"* `{result['name']}`: {failure}" for result in failed for failure in result["failures"]
    )
    return f"**{len(failed)} failed:**\n\n{told}"


def _table_line(cells: Iterable[object]) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def _row(disturbance: str, ledger: str, broker: str, result: Told | None) -> str:
    if result is None:
        return ""
    limit, processes = result["name"].split("-")[:2]
    return _table_line(
        [
            disturbance,
            f"{int(limit):,}",
            processes,
            ledger,
            broker,
            result["times"] or "-",
            f"{result['worst']:,}",
            f"{result['used']:.2%}",
            f"{result['needed']:.2%}",
            result["lost"],
            result["doubled"],
            result["unknown"],
            "failed" if result["failures"] else "held",
        ]
    )


def _peer(result: Told) -> str:
    return _table_line(
        [
            result["title"],
            f"{result['limit']:,}",
            f"**{result['worst']:,}**" if result["worst"] > result["limit"] else result["worst"],
            f"{result['worst'] / result['limit']:.0%}",
            f"{result['used']:.1%}",
            f"{result['tries_a_mail']:.1f}",
            result["doubled"],
        ]
    )


def _neighbours(result: Told | None) -> str:
    if result is None:
        return "Not measured in this run."
    names = {
        "single sends of another company, from the call to the acceptance, p50": (
            f"{result['idle_p50'] * 1000:.1f} ms",
            f"{result['beside_p50'] * 1000:.1f} ms",
        ),
        "the same, p99": (
            f"{result['idle_p99'] * 1000:.1f} ms",
            f"{result['beside_p99'] * 1000:.1f} ms",
        ),
        "a third company's batch of 50 at 600 a minute, until the last is accepted": (
            f"{result['other_batch_alone_seconds']:.2f} s",
            f"{result['other_batch_beside_seconds']:.2f} s",
        ),
    }
    head = f"| beside {result['waiting']:,} waiting mails | idle | beside them |\n|---|---:|---:|\n"
    return head + "\n".join(_table_line([name, *values]) for name, values in names.items())


def _turns(result: Told | None) -> str:
    if result is None:
        return "Not measured in this run."
    return (
        f"A had {result['waiting']:,} waiting. B's first mail was accepted"
        f" {result['first_seconds']:.2f} s after its publishing, and its last"
        f" {result['last_seconds']:.2f} s after its first, where taking turns makes it"
        f" {result['fair_seconds']:.1f} s. The worst window under the ceiling held"
        f" {result['worst']} mails."
    )


__all__ = ["Told", "page", "versions", "write_page"]
