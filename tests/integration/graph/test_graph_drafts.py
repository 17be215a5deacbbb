"""A job's draft: made once, found again after any mishap, and never a second one of it sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from producers.job import Attachment
from tests.support.graph_desk import MAILBOX
from tests.support.graphd_faults import (
    CUT_AFTER,
    CUT_BEFORE,
    TIMED_OUT,
    TIMED_OUT_DONE,
    UNKNOWN_DONE,
    Fault,
)
from tests.support.jobs import JOB_ID, make_job
from worker.errors import BeginRefused, Deferred, Held, Unknown
from worker.outcome import Draft
from worker.transports.graph import LOOKS_SECONDS
from worker.transports.graph_message import JOB_PROPERTY

if TYPE_CHECKING:
    from tests.support.graph_desk import GraphDesk
    from tests.support.graphd import Graph

LARGE = Attachment(name="large.bin", content=bytes(range(250)) * 30_000)


def delivered(graph: Graph) -> int:
    """How often the job left."""
    return graph.deliveries_by(JOB_PROPERTY)[JOB_ID]


@pytest.mark.parametrize(
    ("fault", "made"),
    [(CUT_AFTER, 1), (TIMED_OUT_DONE, 1), (UNKNOWN_DONE, 1), (CUT_BEFORE, 2), (TIMED_OUT, 2)],
)
def test_a_draft_of_which_no_answer_came_is_looked_for(
    desk: GraphDesk, graph: Graph, fault: Fault, made: int
) -> None:
    """It is found by the job's id before another one is made."""
    graph.script("create", fault)
    desk.deliver()
    assert graph.count("create") == made
    assert graph.count("list") == 1
    assert delivered(graph) == 1
    assert graph.drafts(MAILBOX) == []


def test_an_intention_without_a_draft_is_followed_by_a_search(
    desk: GraphDesk, graph: Graph
) -> None:
    """A worker that died between the draft and its commit leaves a draft that is found."""
    desk.drafts.lost_after = 1
    with pytest.raises(BeginRefused):
        desk.deliver()
    assert len(graph.drafts(MAILBOX)) == 1
    desk.drafts.lost_after = None
    desk.drafts.lost = False
    desk.deliver()
    assert graph.count("create") == 1
    assert delivered(graph) == 1


def test_an_intention_of_which_nothing_came_makes_the_draft(desk: GraphDesk, graph: Graph) -> None:
    """The search finds nothing, and the mail goes its usual way."""
    desk.drafts.known[JOB_ID] = Draft()
    desk.deliver()
    assert [seen.operation for seen in graph.requests] == ["list", "create", "send"]


def test_extra_drafts_are_deleted(desk: GraphDesk, graph: Graph) -> None:
    """However many copies a mishap has left, one is sent and none stays."""
    for _ in range(2):
        desk.drafts.lost_after = 1
        with pytest.raises(BeginRefused):
            desk.deliver()
        desk.drafts.known.clear()
    assert len(graph.drafts(MAILBOX)) == 2
    desk.drafts.lost_after = None
    desk.drafts.lost = False
    desk.drafts.known[JOB_ID] = Draft()
    desk.deliver()
    assert delivered(graph) == 1
    assert graph.drafts(MAILBOX) == []


@pytest.mark.parametrize("other", [None, Draft("other")], ids=["cancelled", "has-another"])
def test_a_draft_whose_job_became_anothers_is_deleted(
    desk: GraphDesk, graph: Graph, other: Draft | None
) -> None:
    """Nothing is sent of it, and it does not stay in the mailbox."""

    def decide() -> None:
        desk.drafts.known = {} if other is None else {JOB_ID: other}

    desk.drafts.lost_after, desk.on_pause = 1, decide
    with pytest.raises(BeginRefused):
        desk.deliver()
    assert (desk.begun, graph.deliveries, graph.drafts(MAILBOX)) == (0, [], [])


def test_a_draft_that_another_has_found_and_sent_stays(desk: GraphDesk, graph: Graph) -> None:
    """Found by the job's id before this worker heard that the job is not its own any more."""

    def other_sends() -> None:
        mailbox = graph.mailbox(MAILBOX)
        if not graph.deliveries:
            (message,) = mailbox.messages
            desk.drafts.known[JOB_ID] = Draft(draft.id, "https://outlook.example")
            mailbox.deliver(message)

    desk.drafts.lost_after = 1
    with pytest.raises(BeginRefused):
        desk.deliver()
    (draft,) = graph.drafts(MAILBOX)
    desk.drafts.lost_after, desk.on_pause = 0, other_sends
    with pytest.raises(BeginRefused):
        desk.deliver()
    assert graph.mailbox(MAILBOX).deleted == []
    assert delivered(graph) == 1


def test_who_has_lost_the_job_deletes_nothing(desk: GraphDesk, graph: Graph) -> None:
    """Of what it finds another may have begun with one."""
    for _ in range(2):
        desk.drafts.lost_after = 1
        with pytest.raises(BeginRefused):
            desk.deliver()
        desk.drafts.known.clear()
    desk.drafts.known[JOB_ID] = Draft()
    desk.drafts.lost_after = 0
    with pytest.raises(BeginRefused):
        desk.deliver()
    assert len(graph.drafts(MAILBOX)) == 2


def test_a_look_that_is_refused_after_a_send_is_no_reason_to_call_the_mail_dead(
    desk: GraphDesk, graph: Graph
) -> None:
    """It may have been sent: nobody claims to know, and the next look finds it."""
    graph.script("send", Fault("late", done=True, cut=True, looks=len(LOOKS_SECONDS)))
    with pytest.raises(Unknown):
        desk.deliver()
    graph.script("get", Fault("refused", status=400, code="ErrorInvalidRequest"))
    with pytest.raises(Unknown, match="may have been sent before"):
        desk.deliver(attempts=1)
    assert desk.deliver(attempts=1).earlier


def test_a_draft_of_another_mailbox_is_made_again(desk: GraphDesk, graph: Graph) -> None:
    """The user's address was changed while the mail waited for its time."""
    desk.drafts.known[JOB_ID] = Draft("of another", "https://outlook.example")
    graph.script("get", Fault("other", status=400, code="ErrorInvalidMailboxItemId"))
    desk.deliver()
    assert (graph.count("create"), delivered(graph)) == (1, 1)


def test_an_answer_without_a_list_is_not_an_empty_one(desk: GraphDesk, graph: Graph) -> None:
    """Else what was sent would count as not found."""
    desk.drafts.known[JOB_ID] = Draft()
    graph.script("list", Fault("no list", status=200))
    desk.deliver()
    assert (graph.count("list"), delivered(graph)) == (2, 1)


def test_a_draft_with_some_of_its_attachments_is_not_taken_up(
    desk: GraphDesk, graph: Graph
) -> None:
    """It could not be deleted, and the next one's making got no answer: it is no start for it."""
    parts = tuple(Attachment(name=f"{n}.bin", content=b"m" * 2_500_000) for n in range(3))
    job = make_job(attachments=parts)
    graph.script("attach", None, *[TIMED_OUT] * 9)
    with pytest.raises(Deferred):
        desk.deliver(job)
    graph.reset()
    graph.script("delete", TIMED_OUT)
    graph.script("create", TIMED_OUT)
    desk.deliver(job, attempts=1)
    (mail,) = graph.sent(MAILBOX)
    assert sorted(each.name for each in mail.attachments) == ["0.bin", "1.bin", "2.bin"]
    assert graph.drafts(MAILBOX) == []


def test_nothing_is_sent_where_begin_refuses(desk: GraphDesk, graph: Graph) -> None:
    """The draft stays for whoever has the job."""
    desk.refuses = BeginRefused("the claim is spent")
    with pytest.raises(BeginRefused):
        desk.deliver()
    assert graph.count("send") == 0
    desk.refuses = None
    desk.deliver()
    assert [seen.operation for seen in graph.requests] == ["create", "get", "send"]


def test_a_draft_that_vanished_after_a_send_is_left_to_a_person(
    desk: GraphDesk, graph: Graph
) -> None:
    """Perhaps somebody deleted the mail that was sent: there is never a second message."""
    graph.script("send", CUT_BEFORE)
    with pytest.raises(Unknown):
        desk.deliver()
    graph.mailbox(MAILBOX).messages.clear()
    with pytest.raises(Unknown, match="gone from the mailbox"):
        desk.deliver(attempts=1)
    assert graph.count("create") == graph.count("send") == 1


def test_a_sent_copy_under_another_id_is_found_by_the_jobs_own(
    desk: GraphDesk, graph: Graph
) -> None:
    """Somebody moved the mail to another mailbox's folder and back: its id is a new one."""
    graph.script("send", Fault("late", done=True, cut=True, looks=len(LOOKS_SECONDS)))
    with pytest.raises(Unknown):
        desk.deliver()
    (message,) = graph.mailbox(MAILBOX).messages
    message.serial, message.looks_left = "moved", 0
    assert desk.deliver(attempts=1).earlier
    assert (graph.count("send"), delivered(graph)) == (1, 1)


def test_a_draft_that_vanished_before_any_send_is_made_again(desk: GraphDesk, graph: Graph) -> None:
    """A person deleted it while the mail waited for its time."""
    desk.refuses = BeginRefused("not yet")
    with pytest.raises(BeginRefused):
        desk.deliver()
    desk.refuses = None
    graph.mailbox(MAILBOX).messages.clear()
    desk.deliver()
    assert (graph.count("create"), delivered(graph)) == (2, 1)


def test_a_draft_that_a_person_sent_is_sent(desk: GraphDesk, graph: Graph) -> None:
    """Somebody opened it and pressed Send while the mail waited: it does not leave again."""
    desk.refuses = BeginRefused("not yet")
    with pytest.raises(BeginRefused):
        desk.deliver()
    mailbox = graph.mailbox(MAILBOX)
    mailbox.deliver(mailbox.messages[0])
    desk.refuses = None
    assert desk.deliver().earlier
    assert (graph.count("send"), delivered(graph)) == (0, 1)


def test_a_draft_that_is_not_whole_is_made_anew(desk: GraphDesk, graph: Graph) -> None:
    """A worker died while it uploaded: what is there is thrown away, nothing was sent of it."""
    graph.script("upload", *[CUT_BEFORE] * 9)
    job = make_job(attachments=(LARGE,))
    with pytest.raises(Held):
        desk.deliver(job)
    assert desk.drafts.known[JOB_ID].web_link == ""
    graph.reset()
    desk.deliver(job, attempts=1)
    assert [seen.operation for seen in graph.requests][:3] == ["get", "delete", "create"]
    (mail,) = graph.sent(MAILBOX)
    assert [each.sha256 for each in mail.attachments] == [LARGE.digest]
    assert graph.drafts(MAILBOX) == []
