"""SIGTERM: nothing new is taken, DATA in progress is finished, what is cut is called unknown."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.support.fleet import Company, Fleet
from tests.support.waiting import GENEROUS_SECONDS

if TYPE_CHECKING:
    from pathlib import Path


def test_data_in_progress_is_finished(tmp_path: Path) -> None:
    """A server that takes two seconds to reply still gets to say so; the exit code is 0."""
    with Fleet(
        tmp_path,
        (Company("acme", 60),),
        processes=2,
        delay_seconds=2.0,
        grace_seconds=10,
    ) as fleet:
        fleet.publish_batch("acme", 30)
        assert fleet.wait_for(3, GENEROUS_SECONDS)
        assert fleet.stop() == 0
        after = fleet.states()
        assert set(after) <= {"sent", "waiting"}
        assert after["sent"] == len({a.message_id for a in fleet.arrivals()})
        assert after["sent"] + after["waiting"] == 30
        count = len(fleet.arrivals())
        time.sleep(2.5)
        assert len(fleet.arrivals()) == count


def test_what_is_cut_is_recorded_as_unknown(tmp_path: Path) -> None:
    """A server slower than the grace: the mail in DATA is unknown, not lost, and the exit is 0."""
    with Fleet(
        tmp_path,
        (Company("acme", None),),
        processes=1,
        delay_seconds=0.0,
        grace_seconds=1,
        reply_timeout="300s",
        on_unknown="hold",
    ) as fleet:
        fleet.sink.hold_replies(2 * GENEROUS_SECONDS)
        fleet.publish_batch("acme", 3)
        assert fleet.wait_for_state("data", 3, GENEROUS_SECONDS)
        assert fleet.stop() == 0
        assert fleet.states() == {"unknown": 3}
