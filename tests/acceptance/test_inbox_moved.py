"""The embedded inbox's file is moved away from a running worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.office import open_office
from tests.support.scripted import until

if TYPE_CHECKING:
    from pathlib import Path


def test_a_new_inbox_is_taken_from_without_a_restart(tmp_path: Path) -> None:
    """Not ready while there is none; what is put into the next one, by whoever makes it, is sent."""
    with open_office(tmp_path / "office") as office:
        state = office.fleet.root / "state"
        pids = office.fleet.worker_pids()
        aside = tmp_path / "aside"
        aside.mkdir()
        for file in state.glob("inbox.db*"):
            file.rename(aside / file.name)
        until(lambda: office.readiness()[0] == 503, "the worker to say that it is not ready", 60.0)
        assert "not connected" in office.readiness()[1]
        assert not list(state.glob("inbox.db*"))
        with office.fleet.producer() as office.producer:
            office.seconds_for_a_good_job()
            office.wait_until_all_ready()
        assert office.fleet.worker_pids() == pids
