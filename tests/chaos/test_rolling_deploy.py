"""Two versions side by side on one ledger: rolled out, and rolled back, under load."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.fleet import Company, Fleet, measure
from tests.support.rabbitmq import unique_prefix
from tests.support.versions import HERE, OLDER, make_version
from tests.support.waiting import wait_until
from worker.ledger import overview

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.rabbitmq import RabbitServer
    from tests.support.versions import Version

LIMIT = 60
WINDOW_SECONDS = 5.0
MAILS = 160


def versions_at_work(fleet: Fleet) -> set[str]:
    """The versions of the workers that are alive."""
    return {each.version for each in fleet.ledger.read(overview.all_workers) if each.alive}


def roll(fleet: Fleet, old: Version, new: Version) -> None:
    """Out and back: the next version's workers start before the last one's are asked to end."""
    present = old.join(fleet)
    wait_until(lambda: versions_at_work(fleet) == {old.name}, "the old version to work")
    published = 0
    for successor in (new, old):
        for version in (old, new):  # producers are upgraded in no order at all
            version.publish_batch(fleet, "acme", published, MAILS // 4)
            published += MAILS // 4
        assert fleet.wait_for(published - MAILS // 3, 60)
        following = successor.join(fleet)
        wait_until(lambda: versions_at_work(fleet) == {old.name, new.name}, "both to work")
        assert fleet.wait_for(published - MAILS // 4, 60)
        present.ask_to_stop()
        assert present.wait(30.0) == 0
        present = following
    assert fleet.wait_for(MAILS, 60)
    wait_until(lambda: fleet.states() == {"sent": MAILS}, "every job to be sent")
    present.ask_to_stop()
    assert present.wait(30.0) == 0


def judge(fleet: Fleet) -> None:
    """Nothing lost, nothing twice, nothing unknown, and never more than the limit."""
    seen = measure(fleet, fleet.companies[0], settle_seconds=0)
    assert (seen.different, seen.doubled, seen.unknown) == (MAILS, 0, 0)
    assert seen.worst <= LIMIT


def test_a_roll_out_and_a_roll_back_lose_nothing(tmp_path: Path) -> None:
    """On one machine; both versions' producers go on publishing."""
    old = make_version(tmp_path / "old", "0.0.9", OLDER)
    new = make_version(tmp_path / "new", "0.2.0")
    with Fleet(
        tmp_path / "fleet",
        (Company("acme", LIMIT),),
        processes=0,
        window_seconds=WINDOW_SECONDS,
        delay_seconds=0.2,
    ) as fleet:
        roll(fleet, old, new)
        judge(fleet)


@pytest.mark.slow
@pytest.mark.rabbitmq
def test_the_same_behind_rabbitmq_on_postgresql(
    tmp_path: Path, rabbitmq: RabbitServer, postgresql_url: str
) -> None:
    """As several hosts have it."""
    old = make_version(tmp_path / "old", "0.0.9", OLDER)
    new = make_version(tmp_path / "new", "0.2.0", HERE)
    with Fleet(
        tmp_path / "fleet",
        (Company("acme", LIMIT),),
        processes=0,
        broker_url=rabbitmq.url,
        prefix=unique_prefix("roll"),
        window_seconds=WINDOW_SECONDS,
        delay_seconds=0.2,
        more_environ={"POSTMETER_LEDGER_URL": postgresql_url},
    ) as fleet:
        roll(fleet, old, new)
        judge(fleet)
