"""What an older worker could not read: all of it is looked at, page by page."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, cast

from producers.envelope import encode
from producers.topology import Topology
from tests.support.fakes import WORKER, jobs
from worker.intake import Intake
from worker.ledger import operations
from worker.ledger.rows import UNREADABLE, State

if TYPE_CHECKING:
    import pytest

    from tests.support.fakes import Desk
    from worker.intake import Gate
    from worker.pump import Pump


def test_more_than_a_page_is_read_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages that stay unreadable do not hide the ones behind them."""
    intake = Intake(desk.tools, cast("Gate", None), cast("Pump", None), WORKER)
    bodies = [b"still rubbish %d" % number for number in range(5)]
    held = jobs(5)
    for job in held:
        envelope = json.loads(encode(job, "postmeter.send"))
        envelope["kwargs"]["job"]["schema_version"] = 2
        bodies.append(json.dumps(envelope).encode())
    for body in bodies:
        asyncio.run(desk.ledger.accept(intake.unreadable(body, "newer", State.WAITING)))
    monkeypatch.setattr(operations, "STEP", 2)
    assert asyncio.run(intake.read_again(Topology())) == 0
    for module in ("envelope", "job"):
        monkeypatch.setattr(f"producers.{module}.SCHEMA_VERSION", 2)
    assert asyncio.run(intake.read_again(Topology())) == 5
    left = desk.query(f"SELECT count(*) FROM delivery WHERE kind = '{UNREADABLE}'")  # noqa: S608 - a constant
    assert left == [(5,)]
    assert {desk.row(job.id).state for job in held} == {State.WAITING}
