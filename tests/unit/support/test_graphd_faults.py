"""The Graph for tests misbehaves as it is told, and still knows what has happened."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from tests.support import graphd_faults as faults
from tests.support.graphd_faults import EVERY_KIND, Every, Fault, Script, Seeded, lagging, slow
from tests.support.jwts import make_minter
from tests.unit.support.graph_client import JANE, PROPERTY, Client, code

if TYPE_CHECKING:
    from tests.support.graphd import Graph


@pytest.mark.parametrize(
    ("fault", "status", "error", "retry_after", "delivered"),
    [
        (faults.THROTTLED, 429, "ApplicationThrottled", "1", 0),
        (faults.THROTTLED.waiting(30), 429, "ApplicationThrottled", "30", 0),
        (faults.THROTTLED_SILENTLY, 429, "ApplicationThrottled", None, 0),
        (faults.UNAVAILABLE, 503, "serviceNotAvailable", "1", 0),
        (faults.TIMED_OUT, 504, "UnknownError", None, 0),
        (faults.TIMED_OUT_DONE, 504, "UnknownError", None, 1),
        (faults.UNKNOWN_DONE, 500, "UnknownError", None, 1),
        (faults.TOKEN_REFUSED, 401, "InvalidAuthenticationToken", None, 0),
        (faults.ACCEPTED_WITH_RETRY_AFTER, 202, None, "1", 1),
        (faults.NOT_ACCEPTED_200, 200, None, None, 0),
        (faults.GONE_DONE, 404, "ErrorItemNotFound", None, 1),
        (lagging(2), 202, None, None, 1),
        (slow(0.01), 202, None, None, 1),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else None,
)
def test_a_send_meets_a_fault(
    graph: Graph,
    client: Client,
    fault: Fault,
    status: int,
    error: str | None,
    retry_after: str | None,
    delivered: int,
) -> None:
    """What is replied, and whether the mail left: not every fault tells the truth."""
    draft = client.create()
    graph.script("send", fault)
    reply = client.post(f"{draft}/send")
    assert reply.status_code == status
    assert reply.headers.get("Retry-After") == retry_after
    if error is None:
        assert reply.content == b""
    else:
        assert code(reply) == (status, error)
        assert reply.json()["error"]["innerError"]["request-id"] == reply.headers["request-id"]
    assert "x-ms-ags-diagnostic" in reply.headers
    assert len(graph.deliveries) == delivered
    assert graph.requests[-1].fault == fault.name
    assert graph.violations == []


@pytest.mark.parametrize(("fault", "times"), [(faults.CUT_BEFORE, 0), (faults.CUT_AFTER, 1)])
def test_a_connection_is_cut(graph: Graph, client: Client, fault: Fault, times: int) -> None:
    """The client hears nothing, whether or not the request took effect."""
    draft = client.create()
    graph.script("send", fault)
    with pytest.raises(httpx.TransportError):
        client.post(f"{draft}/send")
    assert graph.requests[-1].status == 0
    assert len(graph.deliveries) == times
    graph.script("create", fault)
    with pytest.raises(httpx.TransportError):
        client.post(f"{client.at}/messages", json=client.message())
    assert len(graph.mailbox(JANE).messages) == 1 + times
    assert client.get(draft).status_code == 200
    assert len({request.connection for request in graph.requests}) == 3


def test_a_create_that_timed_out_may_be_done(graph: Graph, client: Client) -> None:
    """A draft can be found though its maker was told that the gateway timed out."""
    graph.script("create", faults.TIMED_OUT_DONE)
    assert client.post(f"{client.at}/messages", json=client.message()).status_code == 504
    asked = {"$filter": "internetMessageId eq '<7@acme.example>'"}
    assert len(client.get(f"{client.at}/messages", params=asked).json()["value"]) == 1


def test_a_sent_draft_shows_as_a_draft_for_some_looks(graph: Graph, client: Client) -> None:
    """The mail has left, so sending it again meanwhile is a duplicate, and is counted as one."""
    draft = client.create()
    graph.script("send", faults.TIMED_OUT_DONE.showing_draft(2))
    assert client.post(f"{draft}/send").status_code == 504
    assert graph.sent(JANE)[0].shows_as_draft is True
    assert [client.get(draft).json()["isDraft"] for _ in range(4)] == [True, True, False, False]
    assert graph.deliveries_by(PROPERTY) == {"job-7": 1}

    hasty = client.create()
    graph.script("send", lagging(1))
    client.post(f"{hasty}/send")
    assert client.post(f"{hasty}/send").status_code == 202
    assert graph.deliveries_by(PROPERTY) == {"job-7": 3}
    assert [mail.deliveries for mail in graph.sent(JANE)] == [1, 2]


def test_a_connection_that_answered_503_must_not_be_used_again(
    graph: Graph, client: Client
) -> None:
    """Microsoft's page asks for a new connection; the server knows whether it got one."""
    draft = client.create()
    graph.script("get", faults.UNAVAILABLE)
    client.get(draft)
    client.get(draft)
    assert graph.violations == ["get: over a connection that had answered 503"]
    assert len({request.connection for request in graph.requests}) == 1


def test_a_fault_does_not_hide_what_is_wrong(graph: Graph, client: Client) -> None:
    """A request that is refused for its own sake is, whatever reply was planned for it."""
    graph.script("create", faults.TIMED_OUT_DONE)
    assert client.post(f"{client.at}/messages", json={"no": 1}).status_code == 400
    assert len(graph.violations) == 1


def test_tokens_are_let_in(graph: Graph, client: Client) -> None:
    """A set of tokens, or what tells, says which are good; one may end."""
    draft = client.create()
    graph.refuse("good")
    refused = client.get(draft)
    assert code(refused) == (401, "InvalidAuthenticationToken")
    assert refused.headers["WWW-Authenticate"].startswith("Bearer")
    other = {"Authorization": "Bearer better"}
    gate = graph.service.gate
    statuses = []
    for gate.good in (None, {"best"}, {"better"}, lambda token: token == "best"):
        statuses.append(client.get(draft, headers=other).status_code)
    assert statuses == [200, 401, 200, 401]
    assert graph.violations == []


def test_tokens_tell_who_asks(graph: Graph, client: Client) -> None:
    """A JWT says whose the application and ``/me`` are, and when it ends."""
    minter = make_minter()
    delegated = minter.mint(upn=JANE, appid="the-app", scp="Mail.Send")
    headers = {"Authorization": f"Bearer {delegated}"}
    mine = client.post("/v1.0/me/messages", json=client.message(), headers=headers)
    assert mine.status_code == 201
    assert len(graph.drafts(JANE)) == 1
    assert graph.most_per_application == {"the-app": 1}
    expired = minter.mint(upn=JANE, lifetime_seconds=-60)
    late = client.get("/v1.0/me/messages", headers={"Authorization": f"Bearer {expired}"})
    assert code(late) == (401, "InvalidAuthenticationToken")


def test_every_nth_request_meets_the_next_fault_that_fits() -> None:
    """Each operation has its faults in turn, so that none is starved by what others meet."""
    schedule = Every(2, [faults.CUT_BEFORE, faults.GONE_DONE, faults.THROTTLED])
    asked = ["get", "get", "get", "send", "get", "send", "get", "send", "get", "get", "get", "get"]
    chosen = [schedule.choose(operation) for operation in asked]
    assert chosen[::2] == [None] * 6
    assert [fault and fault.name for fault in chosen[1::2]] == [
        *("cut-before", "cut-before", "gone-done", "throttled", "throttled", "cut-before"),
    ]
    only = Every(1, [faults.CUT_BEFORE], frozenset({"send"}))
    assert only.choose("get") is None
    assert only.choose("send") is faults.CUT_BEFORE


def test_a_seed_and_a_script_say_what_happens() -> None:
    """The same seed gives the same faults; a script gives them once, in order."""
    first, second = Seeded(0.3, EVERY_KIND, seed=7), Seeded(0.3, EVERY_KIND, seed=7)
    run = [first.choose("send") for _ in range(100)]
    assert run == [second.choose("send") for _ in range(100)]
    assert 15 < sum(fault is not None for fault in run) < 45
    script = Script([faults.CUT_AFTER, None], frozenset({"send"}))
    assert [script.choose(name) for name in ("get", "send", "send", "send")] == [
        *(None, faults.CUT_AFTER),
        *(None, None),
    ]
    told = faults.schedule_of({"kind": "script", "steps": ["cut-after"], "operations": ["send"]})
    assert told == Script([faults.CUT_AFTER], frozenset({"send"}))
    assert faults.schedule_of({"kind": "every", "n": 3}) == Every(3, list(EVERY_KIND))
    seeded = faults.schedule_of({"kind": "seeded", "chance": 1, "faults": ["throttled"], "seed": 7})
    assert seeded.choose("get") is faults.THROTTLED
