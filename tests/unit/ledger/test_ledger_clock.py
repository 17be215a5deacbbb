"""The two clocks, and a reboot between two lives of a ledger."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.support.ledger import Store
from worker.errors import LedgerUnusable
from worker.ledger import clock, workers
from worker.ledger.boot import note_run
from worker.ledger.clock import HostClock
from worker.ledger.slots import DEAD_WORKER_GRACE_SECONDS
from worker.pace import Limit

LIMIT = Limit("company:acme", 3, even=False)


def boot(store: Store) -> bool:
    """Open the ledger after a reboot, as ``Ledger`` does."""
    noted = store.do(note_run, store.clock)
    if noted:
        store.do(workers.reap)
    return noted


def test_the_hosts_clock_reads_both() -> None:
    """Unix time for dates, and a clock that never steps for slots."""
    host = HostClock.of_this_host()
    first, second = host.now(), host.now()
    assert host.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert abs(first.wall - time.time()) < 5
    assert first.steady <= second.steady <= time.clock_gettime(time.CLOCK_BOOTTIME)


def test_a_host_without_a_boot_id_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where a reboot could not be told, no slot could be trusted."""
    monkeypatch.setattr(clock, "BOOT_ID_FILE", tmp_path / "none")
    with pytest.raises(LedgerUnusable, match=r"an SQLite ledger needs Linux: .* cannot be read"):
        HostClock.of_this_host()


def test_the_same_boot_changes_nothing() -> None:
    """Every process notes the boot; only the first after a reboot acts."""
    store = Store()
    store.register("w1")
    store.in_data("a", LIMIT)
    before = store.dump()
    assert not boot(store)
    assert store.dump() == before
    store.clock.reboot()
    assert boot(store)
    assert not boot(store)


@pytest.mark.parametrize("old_steady", [50.0, 5_000_000.0])
def test_after_a_reboot_every_slot_rests_as_long_as_it_would_have(old_steady: float) -> None:
    """Stamps of the old clock mean nothing: neither may they free a slot, nor lock it for ever."""
    store = Store()
    store.clock.steady = old_steady
    store.register("w1")
    store.settle(store.in_data("settled", LIMIT))
    store.in_data("in-data", LIMIT)
    store.accept("claimed")
    store.claim(LIMIT)
    store.clock.reboot()
    assert boot(store)
    now = store.clock.steady
    rests = [slot.usable_steady - now for slot in store.slots("company:acme")]
    assert rests == [60.0, 60.0 + DEAD_WORKER_GRACE_SECONDS, 0.0]
    assert (store.state("in-data"), store.state("claimed")) == ("unknown", "waiting")
    store.register("w2")
    store.clock.advance(60)
    assert store.claim(LIMIT, worker="w2").job_id == "claimed"


def test_a_reboot_costs_no_day() -> None:
    """What was left of a day's cap is left after a reboot, and what was used rests out its day."""
    day = Limit("mailbox:acme/jane:day", 2, window_seconds=86_400, even=False, per="day")
    store = Store()
    store.register("w1")
    store.settle(store.in_data("a", day))
    store.clock.advance(3_600)
    store.do(workers.beat, "w1")
    store.clock.reboot()
    boot(store)
    rests = [slot.usable_steady - store.clock.steady for slot in store.slots(day.scope)]
    assert rests == [pytest.approx(86_400 - 3_600), 0.0]


def test_a_reboot_starts_gap_lanes_and_window_anew() -> None:
    """Nothing else that was kept on the old clock is compared with the new one."""
    store = Store()
    store.register("w1")
    store.settle(store.in_data("a", Limit("company:acme", 1)))
    store.clock.reboot()
    boot(store)
    assert store.query("SELECT next_steady FROM scope") == [(store.clock.steady,)]
    assert store.query("SELECT accepted_steady FROM attempt") == [(None,)]
    assert store.query("SELECT id FROM worker") == []
