"""Compose, Send Batch and Send Mailer: each value of the page, and each gate, with a real worker.

One worker, an SMTP server and a Graph for tests; the server or Graph says which way a mail took.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from producers import Email
from tests.support.authority import Authority
from tests.support.certificates import certificates
from tests.support.graphd import Graph
from tests.support.office import Office, open_office
from tests.support.waiting import wait_until
from tests.support.ways import CASES, DESKTOP, FILE, GRAPH, NO_WAY, NOT_ALLOWED, SAVED, SMTP, Case
from worker.ledger.rows import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.ledger.queries import JobRecord


@dataclass(slots=True)
class Ways:
    """A worker between two ways, which has one job of each company."""

    office: Office
    graph: Graph

    def end(self, case: Case) -> str:
        """Which way a case's mail took, or what holds it; empty while it is under way."""
        row, address = self._row(case), f"robot@{case.company}.example"
        if row is None:
            return ""
        if row.state is State.DRAFTED:
            saved = {mail.internet_message_id for mail in self.graph.drafts(address)}
            return SAVED if row.message_id in saved else FILE
        if row.state is not State.SENT:
            return row.reason if row.state is State.WAITING else ""
        ids = {
            GRAPH: {mail.internet_message_id for mail in self.graph.sent(address)},
            SMTP: {arrival.message_id for arrival in self.office.fleet.arrivals()},
        }
        return " and ".join(way for way, sent in ids.items() if row.message_id in sent)

    def _row(self, case: Case) -> JobRecord | None:
        named, of = "SELECT job_id FROM delivery WHERE company = ?", (case.company,)
        job_id = self.office.fleet.ledger.read(
            lambda c, _: c.exec_driver_sql(named, of).scalar_one_or_none()
        )
        return None if job_id is None else self.office.row(job_id)


@pytest.fixture(scope="module")
def ways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ways]:
    """A worker with a company for each case, whose one job is published."""
    root = tmp_path_factory.mktemp("ways")
    with (
        Authority(root / "authority") as authority,
        Graph(certificates(root / "tls"), enforce=True) as graph,
    ):
        both = root / "authorities.pem"
        both.write_bytes(authority.ca_file.read_bytes() + graph.ca_file.read_bytes())
        registration = authority.toml(graph_url=graph.url, ca_file=str(both))
        for case in CASES:
            users = root / "settings" / "companies" / case.company / "users"
            users.mkdir(parents=True)
            company = users.parent / "company.toml"
            company.touch(0o600)  # it holds a secret
            company.write_text(case.toml(registration))
            chosen = f'{case.option} = "{case.user}"\n' if case.user else ""
            (users / "robot.toml").write_text(
                f'[email]\naddress = "robot@{case.company}.example"\n{chosen}'
            )
        narrow = root / "settings" / "companies" / "narrow" / "users"
        narrow.mkdir(parents=True)
        (narrow.parent / "company.toml").write_text(
            "replicate_from_system = true\n[tls]\nverify = false\n"
        )
        (narrow / "robot.toml").write_text(
            '[email]\naddress = "robot@narrow.example"\nmailbox_recipients_per_email = 1\n'
        )
        with open_office(root) as office:
            for case in CASES:
                _publish(office, case)
            yield Ways(office, graph)
        assert graph.violations == []


def _publish(office: Office, case: Case) -> None:
    email = Email("kim@customers.example", "Hello", text="Good morning.")
    if case.option == "compose":
        office.producer.compose(email, company=case.company, user="robot")
    elif case.option == "send_mailer":
        office.producer.send(email, company=case.company, user="robot")
    else:
        office.producer.batch([email], company=case.company, user="robot")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_each_way_is_taken(ways: Ways, case: Case) -> None:
    """The mail takes the way that was chosen, by who may choose; or waits with a sentence."""
    wait_until(lambda: case.end in ways.end(case), f"{case}: {case.end}", 60.0)
    end = ways.end(case)
    assert end == case.end or case.end in {DESKTOP, NOT_ALLOWED, NO_WAY}
    assert "\n" not in end


def test_an_email_to_more_than_its_mailbox_takes_is_dead_at_once(ways: Ways) -> None:
    """Nobody is connected to; the sentence says who set the limit where."""
    email = Email("kim@customers.example; lee@customers.example", "Hello", text="Good morning.")
    receipt = ways.office.producer.send(email, company="narrow", user="robot")
    row = ways.office.wait_for(receipt.job_id, State.DEAD)
    assert row.reason == (
        "2 recipients, and one email through the mailbox of narrow/robot may have 1 "
        "(companies/narrow/users/robot.toml [email] mailbox_recipients_per_email): send it in parts"
    )
    assert row.transport == ""
    arrived = {arrival.message_id for arrival in ways.office.fleet.arrivals()}
    assert row.message_id not in arrived


def test_each_start_tells_what_is_dangerous(ways: Ways) -> None:
    """A certificate that nobody checks is said in the log, with file and key."""
    lines = {line["context"]: line for line in ways.office.log_lines("settings warning")}
    assert lines["narrow"]["level"] == "warning"
    assert lines["narrow"]["problem"] == (
        "companies/narrow/company.toml: tls.verify: false: anyone on the way can read mail and "
        "password"
    )
