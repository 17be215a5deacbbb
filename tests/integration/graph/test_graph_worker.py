"""A whole worker that sends through Graph: from the producer to Sent Items, with tokens from MSAL."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from producers import Email
from producers.job import Attachment
from tests.support.authority import Authority
from tests.support.fleet import Company
from tests.support.graph_fleet import COMPANY, GraphFleet
from tests.support.waiting import wait_until
from worker.ledger import drafts
from worker.ledger.queries import find_job

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.graphd import Graph
    from worker.ledger.queries import JobRecord

USER = "user0"


@pytest.fixture(scope="module")
def fleet(graph_server: Graph, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GraphFleet]:
    """One worker process, for all tests of the module."""
    root = tmp_path_factory.mktemp("graph-worker")
    with (
        Authority(root / "authority") as authority,
        GraphFleet(
            root / "fleet",
            companies=(Company(COMPANY, None),),
            processes=1,
            graph_url=graph_server.url,
            graph_ca_file=graph_server.ca_file,
            authority=authority,
            on_unknown="verify",
            reply_timeout="10s",
        ) as running,
    ):
        yield running


def row_of(fleet: GraphFleet, job_id: str) -> JobRecord:
    """The row of a job, which must be there."""
    found = fleet.ledger.read(lambda c, _: find_job(c, job_id))
    assert found is not None
    return found


def wait_for(fleet: GraphFleet, job_id: str, state: str) -> JobRecord:
    """Wait until a job is in a state."""

    def arrived() -> bool:
        found = fleet.ledger.read(lambda c, _: find_job(c, job_id))
        return found is not None and found.state == state

    wait_until(arrived, f"{job_id} {state}")
    return row_of(fleet, job_id)


def test_a_single_send_and_a_batch_arrive(fleet: GraphFleet, graph: Graph) -> None:
    """Both kinds, each mail once, from the user's own mailbox; the reply names Graph's request."""
    with fleet.producer() as producer:
        receipt = producer.send(
            Email(to="a@mail.example", subject="Single", text="Hello"), company=COMPANY, user=USER
        )
        emails = [
            Email(to=f"c{n}@mail.example", subject=f"Invoice {n}", html="<p>Hello</p>")
            for n in range(10)
        ]
        producer.batch(emails, company=COMPANY, user="user1")
    row = wait_for(fleet, receipt.job_id, "sent")
    assert row.reply.startswith("202 accepted ")
    wait_until(lambda: len(graph.sent(fleet.address("user1"))) == 10, "the batch")
    assert [mail.subject for mail in graph.sent(fleet.address(USER))] == ["Single"]
    assert set(graph.deliveries_by_message_id().values()) == {1}


def test_compose_leaves_a_draft_and_its_link(fleet: GraphFleet, graph: Graph) -> None:
    """The mailbox has the draft, the ledger its link; nothing was sent."""
    with fleet.producer() as producer:
        receipt = producer.compose(
            Email(to="a@mail.example", subject="Draft", text="Hello"), company=COMPANY, user=USER
        )
    wait_for(fleet, receipt.job_id, "drafted")
    draft = fleet.ledger.read(lambda c, _: drafts.find(c, receipt.job_id))
    (mail,) = graph.drafts(fleet.address(USER))
    assert draft is not None
    assert (draft.remote_id, mail.subject) == (mail.id, "Draft")
    assert draft.web_link.startswith("https://")
    assert graph.deliveries == []


def test_the_largest_job_arrives_whole(fleet: GraphFleet, graph: Graph) -> None:
    """Attachments up to what a job may have: one by upload session, one posted, one within."""
    attachments = tuple(
        Attachment(name=f"{size}.bin", content=bytes(range(256)) * (size * 1000))
        for size in (20, 8, 1)
    )
    with fleet.producer() as producer:
        receipt = producer.send(
            Email(to="a@mail.example", subject="Big", text="Hello", attachments=attachments),
            company=COMPANY,
            user=USER,
        )
    wait_for(fleet, receipt.job_id, "sent")
    (mail,) = graph.sent(fleet.address(USER))
    arrived = {each.name: each.sha256 for each in mail.attachments}
    assert arrived == {each.name: each.digest for each in attachments}
    assert graph.count("session") == 1


def test_what_graph_cannot_carry_is_dead_with_the_reason(fleet: GraphFleet, graph: Graph) -> None:
    """One-click unsubscription, where the settings do not send it by SMTP."""
    with fleet.producer() as producer:
        receipt = producer.send(
            Email(
                to="a@mail.example",
                subject="News",
                text="Hello",
                headers={"List-Unsubscribe-Post": "List-Unsubscribe=One-Click"},
            ),
            company=COMPANY,
            user=USER,
        )
    row = wait_for(fleet, receipt.job_id, "dead")
    assert "Microsoft 365 does not carry the header List-Unsubscribe-Post" in row.reason
    assert graph.requests == []


def test_the_log_has_the_ids_and_no_secret(fleet: GraphFleet, graph: Graph) -> None:
    """What Microsoft's support asks for stands beside a failed request; no token, no mailbox."""
    graph.mailbox(fleet.address("user2")).refusal = (403, "ErrorAccessDenied")
    with fleet.producer() as producer:
        producer.send(
            Email(to="a@mail.example", subject="Refused", text="Hello"),
            company=COMPANY,
            user="user2",
        )

    def failed() -> list[dict[str, object]]:
        lines = (json.loads(line) for line in fleet.log.read_text().splitlines())
        return [each for each in lines if each.get("status") == 403]

    wait_until(failed, "the line of the request")
    (line, *_) = failed()
    assert line["codes"] == ["ErrorAccessDenied"]
    assert all(line[name] for name in ("request_id", "client_request_id", "diagnostic", "job_id"))
    text = fleet.log.read_text()
    assert "eyJ" not in text  # how every token begins
    assert "@acme.example" not in text
