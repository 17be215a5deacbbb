"""Workers that are killed while Graph misbehaves: each mail exactly once, or nobody claims to know.

Graph itself is the witness: it counts every send that took effect, whatever it answered.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from producers import Email
from tests.support.authority import Authority
from tests.support.certificates import certificates
from tests.support.fleet import Company
from tests.support.graph_fleet import COMPANY, GraphFleet
from tests.support.graphd_process import GraphProcess
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

OPEN_QUESTIONS = [
    "cut-before",
    "cut-after",
    "timed-out",
    "timed-out-done",
    "unknown-done",
    "not-accepted-200",
    "gone-done",
    "accepted-with-retry-after",
    "lagging-2",
    "timed-out-done-lagging-2",
]
"""The faults after which nobody knows whether the mail left; the others ask to wait for seconds."""


def settled(fleet: GraphFleet, count: int) -> bool:
    """Whether every job is sent, or unknown with nothing left that the worker itself may try."""
    states = fleet.states()
    if sum(states.values()) != count or not set(states) <= {"sent", "unknown"}:
        return False
    waits = "SELECT count(*) FROM delivery WHERE state = 'unknown' AND resends = 0"
    return not fleet.ledger.read(lambda c, _: c.exec_driver_sql(waits).scalar_one())


def judge(fleet: GraphFleet, state: dict[str, Any], count: int) -> None:
    """Compare what left the mailboxes with what the ledger says of the jobs."""
    assert state["violations"] == []
    assert max(state["most_per_application"].values()) <= 4
    assert max(state["most_per_mailbox"].values()) <= 3
    left = Counter(each["internet_message_id"] for each in state["deliveries"])
    assert [each for each, times in left.items() if times > 1] == []
    named = "SELECT message_id FROM delivery WHERE state = 'sent'"
    sent = set(fleet.ledger.read(lambda c, _: list(c.exec_driver_sql(named).scalars())))
    assert sent <= set(left)
    assert len(sent) == count - fleet.states().get("unknown", 0)
    shown = [mail for box in state["mails"].values() for mail in box if mail["deliveries"]]
    assert len(shown) == len(left)


def chaos(
    root: Path,
    *,
    mails: int,
    users: int,
    kill_seconds: float,
    within: float,
    kills: int = 1000,
    faults: list[str] | None = None,
) -> None:
    """Send so many mails through a Graph with a fault on every third request, and kill workers.

    Args:
        kills: after so many no more are killed; a mail that is looked after needs some seconds.
    """
    certs = certificates(root / "graph-tls")
    with (
        Authority(root / "authority") as authority,
        GraphProcess(certs, enforce=True) as graph,
        GraphFleet(
            root / "fleet",
            companies=(Company(COMPANY, None),),
            processes=2,
            graph_url=graph.url,
            graph_ca_file=graph.ca_file,
            authority=authority,
            users=users,
            reply_timeout="2s",
            grace_seconds=3.0,
        ) as fleet,
    ):
        graph.faults({"kind": "every", "n": 3} | ({"faults": faults} if faults else {}))
        names = fleet.user_names
        with fleet.producer() as producer:
            for number, user in enumerate(names):
                emails = [
                    Email(to=f"customer{n}@mail.example", subject=f"Invoice {n}", text="Hello")
                    for n in range(number, mails, users)
                ]
                producer.batch(emails, company=COMPANY, user=user)
        fleet.kill_every(kill_seconds)
        wait_until(
            lambda: fleet.kills >= kills or fleet.states().get("sent", 0) >= 0.9 * mails,
            "most mails",
            within,
        )
        fleet.spare()
        wait_until(lambda: settled(fleet, mails), "the end of every job", within)
        judge(fleet, graph.state(), mails)
        assert fleet.kills >= 1


@pytest.mark.timeout(500)
def test_a_few_mails_through_a_graph_that_fails(tmp_path: Path) -> None:
    """Every third request meets a fault and workers are killed: each mail left once."""
    chaos(
        tmp_path,
        mails=20,
        users=5,
        kill_seconds=1.0,
        within=240.0,
        kills=3,
        faults=OPEN_QUESTIONS,
    )


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_thousand_mails_through_a_graph_that_fails(tmp_path: Path) -> None:
    """1,000 mails, a fault on every third request, a worker killed every 10 s: each left once."""
    chaos(tmp_path, mails=1000, users=50, kill_seconds=10.0, within=1400.0)
