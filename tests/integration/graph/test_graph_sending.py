"""A mail through Graph when all is well: two requests, ids, headers, attachments of every size."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from producers.job import Attachment
from tests.support.certificates import certificates
from tests.support.clock import FakeClock
from tests.support.fakes import ScriptedServer
from tests.support.graph_desk import MAILBOX, GraphDesk, make_registration
from tests.support.graphd_process import GraphProcess
from tests.support.jobs import make_job
from worker.errors import Deferred, Held, Rejected
from worker.outcome import HoldTarget, RecipientState, TargetKind
from worker.transports.graph_message import JOB_PROPERTY
from worker.transports.graph_upload import CHUNK_BYTES

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.certificates import Certificates
    from tests.support.graphd import Graph

MEGABYTE = 1_000_000


def test_a_mail_costs_two_requests(desk: GraphDesk, graph: Graph) -> None:
    """Draft and send; the recipients are accepted together, and the reply names the request."""
    job = make_job(to=["a@example.org", "b@example.org"], bcc=["c@example.org"])
    transmission = desk.deliver(job)
    assert [seen.operation for seen in graph.requests] == ["create", "send"]
    assert [each.address for each in transmission.recipients] == [
        "a@example.org",
        "b@example.org",
        "c@example.org",
    ]
    assert {each.state for each in transmission.recipients} == {RecipientState.ACCEPTED}
    assert transmission.reply is not None
    assert transmission.reply.code == 202
    assert desk.exchanges[-1].request_id in transmission.reply.text
    assert desk.begun == 1
    assert desk.phases == ["preface", "data"]
    (mail,) = graph.sent(MAILBOX)
    assert mail.internet_message_id == job.message_id
    assert graph.deliveries_by(JOB_PROPERTY) == {job.id: 1}


def test_every_request_has_an_id_of_its_own(desk: GraphDesk) -> None:
    """Fresh GUIDs, and Graph's own ids and diagnostic beside them, for Microsoft's support."""
    desk.deliver()
    ids = {exchange.client_request_id for exchange in desk.exchanges}
    assert len(ids) == len(desk.exchanges) == 2
    assert all(re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", each) for each in ids)
    assert all(exchange.request_id and exchange.diagnostic for exchange in desk.exchanges)


def test_no_mailbox_stands_in_any_log(desk: GraphDesk, caplog: pytest.LogCaptureFixture) -> None:
    """The library would log each address it asks, and tokens never stand anywhere."""
    with caplog.at_level(logging.INFO):
        desk.deliver()
    assert MAILBOX not in caplog.text + repr(desk.exchanges)
    assert "token-1" not in caplog.text + repr(desk.exchanges)


def test_compose_leaves_the_draft_and_gives_its_link(desk: GraphDesk, graph: Graph) -> None:
    """Nothing begins and nothing is sent; tried again, it is the same draft."""
    job = make_job(kind="compose")
    made = desk.deliver(job)
    assert made.draft is not None
    assert made.draft.web_link.startswith("https://")
    again = desk.deliver(job, attempts=1)
    assert again.draft == made.draft
    assert desk.begun == 0
    assert graph.deliveries == []
    assert len(graph.drafts(MAILBOX)) == 1


@pytest.mark.parametrize("size", [2_999_999, 3_000_000, 3_145_727, 3_145_728, 9 * MEGABYTE])
def test_an_attachment_arrives_whatever_its_size(desk: GraphDesk, graph: Graph, size: int) -> None:
    """Within the draft, posted, or by upload session: the bytes are the same."""
    content = bytes(range(251)) * (size // 251 + 1)
    attachments = (
        Attachment(name="invoice.pdf", content_type="application/pdf", content=content[:size]),
        Attachment(name="small.txt", content_type="text/plain", content=b"small"),
    )
    desk.deliver(make_job(attachments=attachments))
    (mail,) = graph.sent(MAILBOX)
    arrived = {each.name: (each.size, each.sha256, each.content_type) for each in mail.attachments}
    assert arrived == {
        each.name: (len(each.content or b""), each.digest, each.content_type)
        for each in attachments
    }


@pytest.mark.slow
def test_150_megabytes_leave_a_file_without_copies_in_memory(
    tmp_path: Path, graph_certificates: Certificates
) -> None:
    """About the largest that a mailbox sends: at the most a few pieces of it are in memory at once."""
    size = 149 * 1024 * 1024
    path = tmp_path / "film.mp4"
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for number in range(149):
            block = bytes([number]) * (1024 * 1024)
            file.write(block)
            digest.update(block)
    attachment = Attachment(
        name="film.mp4", reference="film.mp4", size=size, sha256=digest.hexdigest()
    )
    with GraphProcess(graph_certificates) as graph:
        tracemalloc.start()
        GraphDesk(graph).deliver(make_job(attachments=(attachment,)), contents={"film.mp4": path})
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        state = graph.state()
    (mail,) = state["mails"][MAILBOX]
    assert mail["deliveries"] == 1
    assert [(each["size"], each["sha256"]) for each in mail["attachments"]] == [
        (size, digest.hexdigest())
    ]
    assert state["violations"] == []
    assert most < 4 * CHUNK_BYTES


def test_a_refused_token_is_replaced_once(desk: GraphDesk, graph: Graph) -> None:
    """A token from the cache that Graph refuses costs one request more, and no attempt."""
    graph.refuse("token-1")
    desk.deliver()
    assert [seen.operation for seen in graph.requests] == ["create", "create", "send"]
    assert graph.deliveries_by(JOB_PROPERTY) == {make_job().id: 1}


def test_tokens_that_are_refused_hold_the_credential(desk: GraphDesk, graph: Graph) -> None:
    """A fresh one that is refused as well is nobody's but the mailbox's trouble."""
    graph.refuse("token-1")
    graph.refuse("token-2")
    with pytest.raises(Held) as caught:
        desk.deliver()
    settings = desk.settings()
    assert caught.value.target == HoldTarget(TargetKind.CREDENTIAL, settings.credential)
    assert graph.count("create") == 2
    assert desk.begun == 0


def test_fifty_mails_find_out_once_that_the_mailbox_refuses(desk: GraphDesk, graph: Graph) -> None:
    """What one request meets speaks for all that are in hand: no more than the places allow ask."""
    graph.mailbox(MAILBOX).refusal = (403, "ErrorAccessDenied")

    async def all_at_once() -> list[object]:
        transport = desk.transport()
        try:
            return await asyncio.gather(
                *(
                    desk.attempt(transport, make_job(id=f"019f0000-0000-7000-8000-{n:012d}"))
                    for n in range(50)
                ),
                return_exceptions=True,
            )
        finally:
            await transport.close()

    outcomes = asyncio.run(all_at_once())
    held = [each for each in outcomes if isinstance(each, Held)]
    assert len(held) == 50
    assert {each.target for each in held} == {HoldTarget(TargetKind.ACCOUNT, "acme/jane")}
    assert len(graph.requests) <= 3


def test_no_more_requests_at_once_than_a_mailbox_takes(desk: GraphDesk, graph: Graph) -> None:
    """40 mails of two mailboxes: at most three for each, four together; the server would refuse."""

    async def all_at_once() -> None:
        transport = desk.transport()
        try:
            await asyncio.gather(
                *(
                    desk.attempt(
                        transport,
                        make_job(id=f"019f0000-0000-7000-8000-{n:012d}"),
                        settings=desk.settings(
                            user=f"user{n % 2}", address=f"user{n % 2}@acme.example"
                        ),
                    )
                    for n in range(40)
                )
            )
        finally:
            await transport.close()

    asyncio.run(all_at_once())
    assert set(graph.deliveries_by(JOB_PROPERTY).values()) == {1}
    assert len(graph.deliveries) == 40
    assert max(graph.most_per_mailbox.values()) <= 3
    assert max(graph.most_per_application.values()) <= 4


def test_what_graph_cannot_carry_is_refused_before_anything_is_made(
    desk: GraphDesk, graph: Graph
) -> None:
    """One-click unsubscription must go by SMTP, and the reason says so."""
    job = make_job(headers={"List-Unsubscribe-Post": "List-Unsubscribe=One-Click"})
    with pytest.raises(Rejected, match="List-Unsubscribe-Post"):
        desk.deliver(job)
    desk.smtp = ScriptedServer()
    with pytest.raises(Rejected, match=r"no smtp\.server_address"):
        desk.deliver(job, settings=desk.settings(uncarried="smtp", server_address=None))
    assert graph.requests == []


def test_what_graph_cannot_carry_goes_by_smtp_where_the_settings_say_so(
    desk: GraphDesk, graph: Graph
) -> None:
    """The other transport gets the mail; a hold of its server defers this mail alone."""
    desk.smtp = server = ScriptedServer()
    server.clock = FakeClock()
    job = make_job(headers={"List-Unsubscribe-Post": "List-Unsubscribe=One-Click"})
    settings = desk.settings(uncarried="smtp")
    desk.deliver(job, settings=settings)
    assert [mail.job_id for mail in server.mails] == [job.id]
    assert desk.begun == 1
    target = HoldTarget(TargetKind.SERVER, "127.0.0.1:25")
    server.before.append(Held("it is down", target=target, retry_after_seconds=7.0))
    with pytest.raises(Deferred, match="it is down") as caught:
        desk.deliver(job, settings=settings)
    assert caught.value.retry_after_seconds == 7.0
    assert graph.requests == []


def test_a_certificate_that_nobody_vouches_for_names_the_key(
    desk: GraphDesk, graph: Graph, tmp_path: Path
) -> None:
    """No request leaves, and the sentence says what to set."""
    other = certificates(tmp_path / "other")
    registration = make_registration(graph_url=graph.url, ca_file=other.ca_file)
    with pytest.raises(Held, match=r"not trusted .*: set ca_file in \[microsoft_365\]") as caught:
        desk.deliver(settings=desk.settings(registration=registration))
    assert caught.value.target.kind is TargetKind.SERVER
    assert graph.requests == []


def test_a_server_that_is_not_there_is_held(desk: GraphDesk) -> None:
    """Nothing has left; the hold stands on Graph, by its own name."""
    registration = make_registration(graph_url="https://127.0.0.1:9")
    settings = desk.settings(registration=registration)
    with pytest.raises(Held, match=r"127\.0\.0\.1:9: no connection") as caught:
        desk.deliver(settings=settings)
    assert str(caught.value.target) == "server:127.0.0.1:9"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"registration": None}, r"needs an app registration: write \[microsoft_365\]"),
        ({"address": None, "username": None}, "needs a mailbox: write username or address"),
    ],
)
def test_settings_that_lack_something_hold_the_account(
    desk: GraphDesk, changes: dict[str, object], words: str
) -> None:
    """The sentence says which key is missing."""
    job = make_job(sender="jane@example.nz")
    with pytest.raises(Held, match=words) as caught:
        desk.deliver(job, settings=desk.settings(**changes))
    assert str(caught.value.target) == "account:acme/jane"


def test_an_upload_to_a_foreign_server_is_refused(desk: GraphDesk, graph: Graph) -> None:
    """The mail's content goes to Graph and Exchange only, whatever the answer says."""
    job = make_job(attachments=(Attachment(name="a.bin", content=b"x" * 4 * MEGABYTE),))
    graph.service.uploads.base_url = "https://uploads.example"
    try:
        with pytest.raises(Deferred, match=r"another server \(uploads\.example\)"):
            desk.deliver(job)
    finally:
        graph.service.uploads.base_url = graph.url
    assert graph.count("upload") == 0
