"""Graph's misbehaviour, one kind at a time: the mail leaves exactly once, or nobody claims to know."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from producers.job import Attachment
from tests.support.graph_desk import MAILBOX
from tests.support.graphd_faults import (
    ACCEPTED_WITH_RETRY_AFTER,
    CHUNK_LOST,
    CUT_AFTER,
    CUT_BEFORE,
    GONE_DONE,
    NOT_ACCEPTED_200,
    THROTTLED,
    THROTTLED_SILENTLY,
    TIMED_OUT,
    TIMED_OUT_DONE,
    UNAVAILABLE,
    UNKNOWN_DONE,
    Every,
    Fault,
    lagging,
    slow,
)
from tests.support.jobs import JOB_ID, make_job
from tests.support.waiting import wait_until
from worker.errors import Deferred, Held, Rejected, Unknown
from worker.transports.graph import LOOKS_SECONDS
from worker.transports.graph_message import JOB_PROPERTY

if TYPE_CHECKING:
    from tests.support.graph_desk import GraphDesk
    from tests.support.graphd import Graph

LARGE = Attachment(name="large.bin", content=bytes(range(250)) * 30_000)
MEDIUM = tuple(Attachment(name="same name.bin", content=b"m" * 2_500_000) for _ in range(2))


def delivered(graph: Graph) -> int:
    """How often the job left."""
    return graph.deliveries_by(JOB_PROPERTY)[JOB_ID]


@pytest.mark.parametrize(
    "fault", [CUT_AFTER, TIMED_OUT_DONE, UNKNOWN_DONE, GONE_DONE], ids=lambda fault: fault.name
)
def test_a_send_that_took_effect_is_found_by_looking(
    desk: GraphDesk, graph: Graph, fault: Fault
) -> None:
    """The answer was lost or wrong; the first look shows that the mail is in Sent Items."""
    graph.script("send", fault)
    transmission = desk.deliver()
    assert transmission.reply is not None
    assert not transmission.earlier
    assert delivered(graph) == graph.count("send") == 1
    assert desk.slept == list(LOOKS_SECONDS[:1])


def test_a_copy_that_comes_late_is_waited_for(desk: GraphDesk, graph: Graph) -> None:
    """It shows as a draft for some looks more: it is not sent a second time meanwhile."""
    graph.script("send", Fault("late", done=True, cut=True, looks=3))
    desk.deliver()
    assert delivered(graph) == graph.count("send") == 1
    assert desk.slept == list(LOOKS_SECONDS[:4])


def test_a_202_with_retry_after_is_accepted(desk: GraphDesk, graph: Graph) -> None:
    """Who tries it again sends it twice (msgraph-sdk-java#1487)."""
    graph.script("send", ACCEPTED_WITH_RETRY_AFTER)
    desk.deliver()
    assert delivered(graph) == graph.count("send") == 1


def test_a_202_is_not_looked_after(desk: GraphDesk, graph: Graph) -> None:
    """That the draft stays one for a while matters to nobody then."""
    graph.script("send", lagging(3))
    desk.deliver()
    assert [seen.operation for seen in graph.requests] == ["create", "send"]


@pytest.mark.parametrize(
    "fault", [CUT_BEFORE, TIMED_OUT, NOT_ACCEPTED_200], ids=lambda fault: fault.name
)
def test_a_send_of_which_nothing_is_found_is_unknown_and_then_sent_again(
    desk: GraphDesk, graph: Graph, fault: Fault
) -> None:
    """After its rest the same draft is looked at, and sent: one mail, one message."""
    graph.script("send", fault)
    with pytest.raises(Unknown, match="not in Sent Items yet"):
        desk.deliver()
    assert desk.slept == list(LOOKS_SECONDS)
    assert delivered(graph) == 0
    transmission = desk.deliver(attempts=1)
    assert not transmission.earlier
    assert delivered(graph) == 1
    assert desk.begun == 2
    assert len(graph.sent(MAILBOX)) == 1
    assert graph.drafts(MAILBOX) == []


def test_the_next_attempt_finds_what_the_first_had_sent(desk: GraphDesk, graph: Graph) -> None:
    """A mail that came to Sent Items after all looks is not begun again."""
    graph.script("send", Fault("late", done=True, cut=True, looks=len(LOOKS_SECONDS)))
    with pytest.raises(Unknown):
        desk.deliver()
    transmission = desk.deliver(attempts=1)
    assert transmission.earlier
    assert (desk.begun, delivered(graph)) == (1, 1)


def test_a_worker_that_died_right_after_the_send_is_followed_by_a_look(
    desk: GraphDesk, graph: Graph
) -> None:
    """Killed before it heard the answer: the next one looks first, and more than once."""

    async def attempt_and_die() -> None:
        transport = desk.transport()
        try:
            task = asyncio.create_task(desk.attempt(transport, make_job()))
            await asyncio.to_thread(wait_until, lambda: graph.deliveries)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        finally:
            await transport.close()

    graph.script("send", Fault("late reply", done=True, delay_seconds=1.0, looks=2))
    asyncio.run(attempt_and_die())
    assert desk.deliver(attempts=1).earlier
    assert delivered(graph) == 1


@pytest.mark.parametrize("operation", ["create", "send"])
@pytest.mark.parametrize(
    ("fault", "target", "wish"),
    [
        (THROTTLED.waiting(7), "account:acme/jane", 7.0),
        (THROTTLED_SILENTLY, "account:acme/jane", 5.0),
        (UNAVAILABLE, "account:acme/jane", 1.0),
    ],
    ids=["throttled", "throttled-silently", "unavailable"],
)
def test_what_graph_asks_to_wait_for_is_held(
    desk: GraphDesk, graph: Graph, operation: str, fault: Fault, target: str, wish: float
) -> None:
    """With the time that it names; the next attempt goes on with the same draft."""
    graph.script(operation, fault)
    with pytest.raises(Held) as caught:
        desk.deliver()
    assert str(caught.value.target) == target
    assert caught.value.retry_after_seconds == wish
    assert caught.value.mail_sent == (operation == "send")
    desk.deliver(attempts=int(operation == "send"))
    assert (delivered(graph), len(graph.sent(MAILBOX)), graph.drafts(MAILBOX)) == (1, 1, [])


def test_a_503_ends_its_connection(desk: GraphDesk, graph: Graph) -> None:
    """It leads to a server that cannot: the same transport comes again over another."""

    async def twice() -> None:
        transport = desk.transport()
        try:
            with pytest.raises(Held):
                await desk.attempt(transport, make_job())
            await asyncio.sleep(1.0)  # the failure speaks for all mails in hand for nearly so long
            await desk.attempt(transport, make_job())
        finally:
            await transport.close()

    graph.script("create", UNAVAILABLE)
    asyncio.run(twice())
    assert delivered(graph) == 1


def test_no_connection_is_used_after_a_503_however_many_are_under_way(
    desk: GraphDesk, graph: Graph
) -> None:
    """Twelve mailboxes at once, a 503 on every third request: the fixture finds no connection reused."""

    async def all_at_once() -> int:
        transport = desk.transport()
        try:
            outcomes = await asyncio.gather(
                *(
                    desk.attempt(
                        transport,
                        make_job(id=f"019f0000-0000-7000-8000-{n:012d}"),
                        settings=desk.settings(
                            user=f"user{n % 12}", address=f"user{n % 12}@acme.example"
                        ),
                    )
                    for n in range(60)
                ),
                return_exceptions=True,
            )
        finally:
            await transport.close()
        return sum(isinstance(each, Held) for each in outcomes)

    graph.faults(Every(3, [UNAVAILABLE]))
    held = asyncio.run(all_at_once())
    assert held + len(graph.deliveries) == 60
    assert held >= 12


def test_a_server_that_cuts_every_request_is_held(desk: GraphDesk, graph: Graph) -> None:
    """After some tries; nothing has been sent, and no attempt is counted."""
    graph.script("create", *[CUT_BEFORE] * 9)
    with pytest.raises(Held, match="the connection to Graph broke") as caught:
        desk.deliver()
    assert str(caught.value.target).startswith("server:127.0.0.1:")
    assert desk.begun == 0


def test_a_mail_that_graph_always_fails_with_is_deferred_alone(
    desk: GraphDesk, graph: Graph
) -> None:
    """It may be this mail's content: others need not wait."""
    graph.script("create", *[TIMED_OUT] * 9)
    with pytest.raises(Deferred, match="failed in the middle"):
        desk.deliver()


def test_a_sender_that_the_mailbox_may_not_use_is_dead(desk: GraphDesk, graph: Graph) -> None:
    """403 ErrorSendAsDenied is about this mail, and about no other."""
    graph.mailbox(MAILBOX).send_as = set()
    with pytest.raises(Rejected, match="may not send as this sender"):
        desk.deliver(make_job(sender="boss@acme.example"))
    desk.deliver(make_job(id=JOB_ID.replace("1", "2")))
    assert len(graph.deliveries) == 1


@pytest.mark.parametrize(
    "fault", [CHUNK_LOST, CUT_BEFORE, CUT_AFTER, TIMED_OUT, TIMED_OUT_DONE], ids=lambda f: f.name
)
@pytest.mark.parametrize("piece", [0, 1])
def test_an_upload_goes_on_where_it_was_cut(
    desk: GraphDesk, graph: Graph, fault: Fault, piece: int
) -> None:
    """Graph tells how far it has come; the bytes arrive once and whole."""
    graph.script("upload", *[None] * piece, fault)
    desk.deliver(make_job(attachments=(LARGE,)))
    (mail,) = graph.sent(MAILBOX)
    assert [(each.name, each.sha256) for each in mail.attachments] == [(LARGE.name, LARGE.digest)]
    assert delivered(graph) == 1


def test_a_slow_upload_does_not_bring_the_next_mails_too_early(
    desk: GraphDesk, graph: Graph
) -> None:
    """They would wait for their slots in the places of the app, which all mailboxes share."""

    async def story() -> list[float]:
        transport = desk.transport()
        try:
            await desk.attempt(transport, make_job(attachments=(LARGE,)))
        finally:
            await transport.close()
        return [transport.lead_seconds(desk.settings(user=user)) for user in ("jane", "joe")]

    graph.script("upload", slow(1.0))
    assert asyncio.run(story()) == [0.5, 0.5]


def test_an_upload_whose_address_expired_holds_nobody(desk: GraphDesk, graph: Graph) -> None:
    """The address is its own permission: the mailbox's token is not to blame, and others go on."""
    graph.script("upload", Fault("expired", status=401, code="InvalidAuthenticationToken"))
    job = make_job(attachments=(LARGE,))
    with pytest.raises(Deferred, match="address is not good any more"):
        desk.deliver(job)
    desk.deliver(job, attempts=1)
    assert (delivered(graph), graph.drafts(MAILBOX)) == (1, [])


@pytest.mark.parametrize("fault", [CUT_BEFORE, CUT_AFTER, TIMED_OUT_DONE], ids=lambda f: f.name)
def test_a_posted_attachment_is_there_once(desk: GraphDesk, graph: Graph, fault: Fault) -> None:
    """Two of one name, the second of which no answer came: the draft is asked what it has."""
    graph.script("attach", fault)
    desk.deliver(make_job(attachments=MEDIUM))
    (mail,) = graph.sent(MAILBOX)
    assert [each.name for each in mail.attachments] == ["same name.bin"] * 2
