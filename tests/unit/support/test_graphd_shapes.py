"""The Graph for tests refuses what is not of Microsoft's published shapes, and notes it."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.support.graph_client import JANE, Client, code

if TYPE_CHECKING:
    from tests.support.graphd import Graph

READ = "RequestBodyRead"
FILE = {
    "@odata.type": "#microsoft.graph.fileAttachment",
    "name": "a.txt",
    "contentBytes": base64.b64encode(b"text").decode(),
}
ADDRESS = {"address": "bob@customer.example"}


def _headers(*names: str) -> list[dict[str, str]]:
    return [{"name": name, "value": "1"} for name in names]


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"recipients": []}, READ),
        ({"subject": 7}, READ),
        ({"subject": "two\nlines"}, "ErrorInvalidRequest"),
        ({"body": "text"}, READ),
        ({"body": {"contentType": "markdown", "content": ""}}, READ),
        ({"body": {"type": "HTML", "content": ""}}, READ),
        ({"toRecipients": {"emailAddress": ADDRESS}}, READ),
        ({"toRecipients": [ADDRESS]}, READ),
        ({"toRecipients": [{"emailAddress": {"name": "Bob"}}]}, "ErrorInvalidRequest"),
        ({"from": [{"emailAddress": ADDRESS}]}, READ),
        ({"importance": "urgent"}, READ),
        ({"isReadReceiptRequested": "true"}, READ),
        ({"isReadReceiptRequested": 1}, READ),
        ({"internetMessageId": "7@acme.example"}, "ErrorInvalidRequest"),
        ({"isDraft": False}, "ErrorInvalidPropertySet"),
        ({"internetMessageHeaders": []}, "InvalidInternetMessageHeaderCollection"),
        (
            {"internetMessageHeaders": _headers(*(f"x-{number}" for number in range(6)))},
            "InvalidInternetMessageHeaderCollection",
        ),
        ({"internetMessageHeaders": _headers("List-Unsubscribe")}, "InvalidInternetMessageHeader"),
        ({"internetMessageHeaders": _headers("x-two words")}, "InvalidInternetMessageHeader"),
        (
            {"internetMessageHeaders": [{"name": "x-a", "value": "1\r\nBcc: eve@evil.example"}]},
            "InvalidInternetMessageHeader",
        ),
        (
            {"singleValueExtendedProperties": [{"id": "String job", "value": "7"}]},
            "ErrorInvalidExtendedProperty",
        ),
        ({"singleValueExtendedProperties": [{"id": "String 0x1045", "value": 7}]}, READ),
        ({"attachments": [{**FILE, "contentBytes": "not base64"}]}, READ),
        ({"attachments": [{**FILE, "@odata.type": "fileAttachment"}]}, READ),
        (
            {"attachments": [{name: FILE[name] for name in ("name", "contentBytes")}]},
            "ErrorInvalidRequest",
        ),
        ({"attachments": [{**FILE, "contentLocation": "here"}]}, READ),
    ],
)
def test_a_message_of_another_shape_is_refused(
    graph: Graph, client: Client, changed: dict[str, Any], error: str
) -> None:
    """Each rule for a message has its error's code, and is a violation; nothing is stored."""
    reply = client.post(f"{client.at}/messages", json=client.message(**changed))
    assert code(reply) == (400, error)
    assert "request-id" in reply.json()["error"]["innerError"]
    assert len(graph.violations) == 1
    assert graph.drafts(JANE) == []


def test_everything_that_the_pages_name_is_taken(graph: Graph, client: Client) -> None:
    """A message with each field that can be given is of the published shape."""
    person = {"emailAddress": ADDRESS}
    client.create(
        **{"from": person},
        sender=person,
        ccRecipients=[person],
        bccRecipients=[person],
        replyTo=[person],
        importance="High",
        isReadReceiptRequested=True,
        isDeliveryReceiptRequested=False,
        categories=["Invoices"],
        singleValueExtendedProperties=[
            {"id": "String 0x1045", "value": "<https://acme.example/u>"},
            {"id": "Integer {8ECCC264-6880-4EBE-992F-8888D2EEAA1D} Id 0x8012", "value": "7"},
        ],
        attachments=[{**FILE, "contentType": "text/plain", "isInline": True, "contentId": "a"}],
    )
    (draft,) = graph.drafts(JANE)
    assert [(file.content, file.content_id) for file in draft.attachments] == [(b"text", "a")]
    assert draft.properties["string 0x1045"] == "<https://acme.example/u>"
    assert graph.violations == []


@pytest.mark.parametrize(
    ("method", "path", "status", "more"),
    [
        (
            "POST",
            "/messages",
            400,
            {"content": b"{", "headers": {"Content-Type": "application/json"}},
        ),
        ("POST", "/messages", 415, {"content": b"{}", "headers": {"Content-Type": "text/html"}}),
        ("POST", "/messages", 411, {"content": iter([b"{}"])}),
        ("POST", "/messages", 413, {"content": b" " * (4 * 1024 * 1024 + 1)}),
        ("POST", "/sendMail", 400, {"json": {"subject": "no wrapper"}}),
        ("POST", "/sendMail", 400, {"json": {"saveToSentItems": True}}),
        ("GET", "/messages", 400, {"params": {"$filter": "subject eq 'Invoice'"}}),
        ("GET", "/messages", 400, {"params": {"$top": "0"}}),
        ("GET", "/messages", 400, {"params": {"$select": "isdraft"}}),
        ("GET", "/messages", 400, {"params": {"select": "isDraft"}}),
        ("GET", "/letters", 400, {}),
        ("GET", "/messages", 401, {"headers": {"Authorization": ""}}),
        ("GET", "/messages", 401, {"headers": {"Authorization": "bearer good"}}),
    ],
)
def test_a_request_of_another_shape_is_refused(
    graph: Graph, client: Client, method: str, path: str, status: int, more: dict[str, Any]
) -> None:
    """Framing, content types, wrappers, queries, paths and tokens are looked at too."""
    client.create()
    reply = client.request(method, f"{client.at}{path}", **more)
    assert reply.status_code == status
    assert len(graph.violations) == 1


def test_what_a_message_can_not_be_changed_to_is_refused(graph: Graph, client: Client) -> None:
    """Headers are given when a draft is made, or never; a send takes no body."""
    draft = client.create()
    changed = client.patch(draft, json={"internetMessageHeaders": _headers("x-a")})
    assert changed.json()["error"]["code"] == "ErrorInvalidPropertySet"
    assert client.post(f"{draft}/send", json={}).status_code == 400
    assert len(graph.violations) == 2
    assert graph.deliveries == []


def test_request_ids_are_guids(graph: Graph, client: Client) -> None:
    """A client-request-id that is no GUID is noted, though the request is served."""
    draft = client.create()
    assert client.get(draft, headers={"client-request-id": "seven"}).status_code == 200
    assert graph.violations == ["get: client-request-id is no GUID"]
    assert [request.client_request_id for request in graph.requests][1:] == ["seven"]
