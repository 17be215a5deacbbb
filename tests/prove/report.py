"""What the proof writes: ``docs/proof.md``, whose words are in ``proof.md.in`` beside this file."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from tests.prove import sections
from tests.prove.matrix import read_matrix
from tests.prove.saved import SOAK
from tests.prove.sections import NOT_MEASURED, table_line
from tests.support.postgresql import PostgresServer
from tests.support.rabbitmq import RabbitServer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from tests.prove.matrix import Row

PAGE = Path(__file__).parents[2] / "docs" / "proof.md"
_PEER_PINS = PAGE.parents[1] / "requirements-prove.txt"
_TEMPLATE = Path(__file__).with_name("proof.md.in")
_NO_RESULT = ("name", "failures")
_PEERS_HEAD = """\
| | limit | worst 60 s | of the limit | used | tries a mail | doubled |
|---|---:|---:|---:|---:|---:|---:|
"""
Told = Mapping[str, Any]
"""One result as its process told it: the fields of its dataclass, and ``name``."""


def write_page(page_text: str) -> None:
    """Write the page anew."""
    PAGE.write_text(page_text, "utf-8")


def page(
    results: Mapping[str, Told],
    programs: Mapping[str, str],
    minutes: float,
    when: datetime,
    runs: int = 1,
    again: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """The page, made of its template and the results.

    Args:
        results: by their names, in the order of the page.
        minutes: what the runs took that the results are from.
        runs: how many that were.
        again: what had failed before it was measured again, by name.
    """
    told = {name: result for name, result in results.items() if len(result) > len(_NO_RESULT)}
    rows, _ = read_matrix()
    failed = {
        name: result["failures"]
        for name, result in results.items()
        if result["failures"] and not _is_peer(result)
    }
    missing = sum(row.name not in told and row.name not in failed for row in rows)
    peers = [_peer(result) for result in results.values() if _is_peer(result)]
    return Template(_TEMPLATE.read_text("utf-8")).substitute(
        date=f"{when:%d %B %Y}",
        programs=", ".join(f"{name} {number}" for name, number in programs.items()),
        cores=len(os.sched_getaffinity(0)),
        minutes=f"{minutes:.0f}",
        runs=f", in {runs} runs" if runs > 1 else "",
        count=len(rows),
        verdict=_verdict(failed, missing, again or {}),
        rows="\n".join(_row(row, told.get(row.name), row.name in failed) for row in rows),
        control=sections.live_control(told),
        neighbours=sections.neighbours(told.get("neighbours")),
        turns=sections.turns(told),
        soak=sections.soak(told.get(SOAK)),
        peers=_PEERS_HEAD + "\n".join(peers) if peers else NOT_MEASURED,
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


def _verdict(
    failed: Mapping[str, Sequence[str]], missing: int, again: Mapping[str, Sequence[str]]
) -> str:
    but = f" that was measured held; {missing} were not" if missing else " held"
    verdict = f"**{len(failed)} failed:**\n\n{_listed(failed)}" if failed else f"Every row{but}."
    before = f"\n\nMeasured again, after these had failed:\n\n{_listed(again)}" if again else ""
    return verdict + before


def _listed(failures: Mapping[str, Sequence[str]]) -> str:
    return "\n".join(f"* `{name}`: {one}" for name, some in failures.items() for one in some)


def _row(row: Row, result: Told | None, failed: bool) -> str:
    varied = [row.disturbance, f"{row.limit:,}", row.processes, row.ledger, row.broker]
    if result is None:
        return table_line([*varied, *["-"] * 7, "failed" if failed else NOT_MEASURED])
    return table_line(
        [
            *varied,
            result["times"] or "-",
            f"{result['worst']:,}",
            f"{result['used']:.2%}",
            f"{result['needed']:.2%}",
            result["lost"],
            result["doubled"],
            result["unknown"],
            "failed" if failed else "held",
        ]
    )


def _peer(result: Told) -> str:
    return table_line(
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


__all__ = ["Told", "page", "versions", "write_page"]
