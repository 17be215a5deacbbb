"""Results that were saved: what ``--page`` makes the page of, without running anything.

A file has a JSON document on each line: results, each with its name; where ``python -m tests.prove``
wrote it, one more that tells how long all of it took, when and with what. An hour of ``make soak`` is
one document.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from tests.prove.report import Told

RUN = "run"
"""The name of the document that tells of a run as a whole."""
SOAK = "soak"
_ONLY_IN_A_SOAK = "unacknowledged_seconds"
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(slots=True)
class Saved:
    """What some files hold together.

    Attributes:
        results: as they were saved, none altered; a later one has replaced an earlier of its name.
        minutes: what the runs took together; None where one does not say.
        when: the end of the last run; the time of the file where it does not say.
        programs: what the runs say they were made with, the last of each name.
        runs: how many there were, an hour of soak not counted.
        again: what the results failed in that a later one has replaced, by name.
    """

    results: dict[str, Told] = field(default_factory=dict)
    minutes: float | None = 0.0
    when: datetime = _LONG_AGO
    programs: dict[str, str] = field(default_factory=dict)
    runs: int = 0
    again: dict[str, list[str]] = field(default_factory=dict)


def run_line(minutes: float, when: datetime, programs: Mapping[str, str]) -> dict[str, Any]:
    """What a run tells of itself after its results."""
    return {"name": RUN, "minutes": minutes, "when": when.isoformat(), "programs": dict(programs)}


def read_saved(files: Iterable[Path]) -> Saved:
    """Read what was saved, the files in their order.

    Raises:
        ValueError: a file has something else in it, or no file has a result but the soak.
        OSError: a file cannot be read.
    """
    saved = Saved()
    for file in files:
        documents = [_document(file, line) for line in file.read_text("utf-8").splitlines()]
        for name, document in documents:
            if name != RUN:
                _add_result(saved, name, document)
        if any(name not in {RUN, SOAK} for name, _ in documents):
            told = [document for name, document in documents if name == RUN]
            _add_run(saved, told, datetime.fromtimestamp(file.stat().st_mtime, UTC))
    if not saved.runs:
        raise ValueError("no result of `python -m tests.prove` is among these")
    return saved


def _document(file: Path, line: str) -> tuple[str, Told]:
    try:
        document = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{file} is not a document of JSON on each line: {error}") from None
    if isinstance(document, dict):
        # An older soak does not say its name.
        name = document.get("name", SOAK if _ONLY_IN_A_SOAK in document else None)
        if isinstance(name, str) and (name == RUN or "failures" in document):
            return name, document
    raise ValueError(f"{file} has something that is no result: {line[:60]}")


def _add_result(saved: Saved, name: str, result: Told) -> None:
    """Add a result; one that failed is not forgotten when a later one replaces it."""
    before = saved.results.get(name, {"failures": ()})
    if before["failures"]:
        saved.again.setdefault(name, []).extend(before["failures"])
    saved.results[name] = result


def _add_run(saved: Saved, told: Sequence[Told], file_time: datetime) -> None:
    """Add what a run tells of itself; it does not where it was cut short."""
    saved.runs += 1
    if not told:
        saved.minutes = None
        saved.when = max(saved.when, file_time)
    for run in told:
        if saved.minutes is not None:
            saved.minutes += run["minutes"]
        saved.when = max(saved.when, datetime.fromisoformat(run["when"]))
        saved.programs |= run["programs"]


__all__ = ["RUN", "SOAK", "Saved", "read_saved", "run_line"]
