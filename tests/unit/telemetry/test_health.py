"""Health: alive, and ready, with one line of why."""

from __future__ import annotations

import json

import pytest

from worker.ledger.overview import WorkerRecord
from worker.telemetry.health import STALLED_SECONDS, liveness, readiness


def worker(trouble: str = "", *, alive: bool = True) -> WorkerRecord:
    """One worker's row."""
    return WorkerRecord("w1", "host", 1, "1", 0.0, trouble, alive)


def test_alive_while_the_loop_moves() -> None:
    """A process whose loop stands still is not alive."""
    assert liveness(0.5).ok
    assert not liveness(STALLED_SECONDS + 1).ok


@pytest.mark.parametrize(
    ("stopping", "trouble", "workers", "why"),
    [
        (False, "", [worker()], "1 of 1 workers ready"),
        (False, "", [worker(), worker("not connected: postmeter.send")], "1 of 2 workers ready"),
        (True, "", [worker()], "stopping"),
        (False, "the ledger cannot be used now", [worker()], "the ledger cannot be used now"),
        (False, "", [], "no worker process is alive"),
        (False, "", [worker(alive=False)], "no worker process is alive"),
        (False, "", [worker("not connected: x")], "no worker is ready: not connected: x"),
    ],
)
def test_ready(*, stopping: bool, trouble: str, workers: list[WorkerRecord], why: str) -> None:
    """Ready takes a ledger that can be read and a live worker without trouble; else it says why."""
    verdict = readiness(stopping=stopping, ledger_trouble=trouble, workers=workers)
    assert verdict.why == why
    assert verdict.ok is why.endswith("ready")
    assert verdict.status.startswith("200" if verdict.ok else "503")


def test_both_forms() -> None:
    """The answer is a line for people and JSON for programs."""
    verdict = readiness(stopping=True, ledger_trouble="", workers=[])
    assert verdict.as_text() == b"stopping\n"
    assert json.loads(verdict.as_json()) == {"ok": False, "why": "stopping"}
