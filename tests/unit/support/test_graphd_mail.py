"""The Graph for tests does with messages what Microsoft's pages say."""

from __future__ import annotations

import base64
from email.message import EmailMessage
from typing import TYPE_CHECKING

import pytest

from tests.unit.support.graph_client import JANE, PROPERTY, Client, code

if TYPE_CHECKING:
    from tests.support.graphd import Graph


def test_a_draft_is_made_and_sent(graph: Graph, client: Client) -> None:
    """A draft has an id and a link; its send is answered 202, empty; it is in Sent Items then."""
    made = client.post(f"{client.at}/messages", json=client.message())
    assert made.status_code == 201
    assert made.json()["isDraft"] is True
    assert made.json()["webLink"].startswith("https://")
    assert made.headers["Preference-Applied"] == 'IdType="ImmutableId"'
    assert made.headers["client-request-id"] == client.headers["client-request-id"]
    assert made.headers["request-id"] != client.headers["client-request-id"]
    assert [draft.subject for draft in graph.drafts(JANE)] == ["Invoice 7"]

    sent = client.post(f"{client.at}/messages/{made.json()['id']}/send")

    assert (sent.status_code, sent.headers["Content-Length"]) == (202, "0")
    (mail,) = graph.sent(JANE)
    assert mail.recipients == ("bob@customer.example",)
    assert mail.headers == (("x-postmeter", "7"),)
    assert (mail.deliveries, mail.shows_as_draft) == (1, False)
    assert graph.drafts(JANE) == []
    assert graph.deliveries_by(PROPERTY) == {"job-7": 1}
    assert graph.deliveries_by_message_id() == {"<7@acme.example>": 1}
    assert graph.violations == []


def test_only_immutable_ids_stay(graph: Graph, client: Client) -> None:
    """Without Prefer the id that a draft had finds nothing once it was sent; with it, it does."""
    stays = client.create()
    changes = client.get(stays, headers={"Prefer": ""}).json()["id"]
    client.post(f"{stays}/send")
    assert client.get(stays).json()["isDraft"] is False
    gone = client.get(f"{client.at}/messages/{changes}")
    assert code(gone) == (404, "ErrorItemNotFound")
    assert client.get(stays, headers={"Prefer": ""}).json()["id"] != changes


@pytest.mark.parametrize(
    "asked",
    [
        f"singleValueExtendedProperties/Any(ep: ep/id eq '{PROPERTY}' and ep/value eq 'job-7')",
        f"singleValueExtendedProperties/any(x:x/id eq '{PROPERTY.lower()}' and x/value eq 'job-7')",
        "internetMessageId eq '<7@acme.example>'",
    ],
)
def test_messages_are_found(graph: Graph, client: Client, asked: str) -> None:
    """Both filters find drafts and sent mails in the whole mailbox, as many as $top lets."""
    drafts = [client.create(), client.create()]
    client.create(singleValueExtendedProperties=None, internetMessageId="<8@acme.example>")
    client.post(f"{drafts[0]}/send")
    query = {"$filter": asked, "$select": "id,isDraft"}
    found = client.get(f"{client.at}/messages", params=query).json()["value"]
    assert sorted(one["isDraft"] for one in found) == [False, True]
    assert {f"{client.at}/messages/{one['id']}" for one in found} == set(drafts)
    assert all(set(one) == {"@odata.etag", "id", "isDraft"} for one in found)
    first = client.get(f"{client.at}/messages", params={**query, "$top": "1"}).json()["value"]
    assert len(first) == 1
    assert graph.violations == []


def test_an_extended_property_is_shown_where_it_is_asked_for(client: Client) -> None:
    """A message has its property with ``$expand`` only."""
    draft = client.create()
    assert "singleValueExtendedProperties" not in client.get(draft).json()
    expand = {"$expand": f"singleValueExtendedProperties($filter=id eq '{PROPERTY}')"}
    shown = client.get(draft, params=expand).json()["singleValueExtendedProperties"]
    assert shown == [{"id": PROPERTY, "value": "job-7"}]


def test_a_draft_is_changed_and_deleted(graph: Graph, client: Client) -> None:
    """PATCH changes a draft, and what stays of a sent mail can not be changed; DELETE removes it."""
    draft = client.create()
    assert client.patch(draft, json={"subject": "Invoice 8"}).json()["subject"] == "Invoice 8"
    client.post(f"{draft}/send")
    assert client.patch(draft, json={"isRead": True}).status_code == 200
    assert client.patch(draft, json={"subject": "Invoice 9"}).status_code == 400
    other = client.create()
    assert client.delete(other).status_code == 204
    assert client.get(other).status_code == 404
    assert [mail.subject for mail in graph.sent(JANE)] == ["Invoice 8"]
    assert graph.drafts(JANE) == []


def test_what_has_moved_is_not_sent_again(graph: Graph, client: Client) -> None:
    """A send of a mail in Sent Items is answered 404, and nobody gets it twice."""
    draft = client.create()
    client.post(f"{draft}/send")
    again = client.post(f"{draft}/send")
    assert code(again) == (404, "ErrorItemNotFound")
    assert graph.deliveries_by(PROPERTY) == {"job-7": 1}
    assert graph.violations == []


def test_a_message_is_sent_at_once(graph: Graph, client: Client) -> None:
    """SendMail needs no draft; without a copy in Sent Items it is a delivery all the same."""
    url = f"{client.at}/sendMail"
    assert client.post(url, json={"message": client.message()}).status_code == 202
    unsaved = {"message": client.message(), "saveToSentItems": False}
    assert client.post(url, json=unsaved).status_code == 202
    assert len(graph.sent(JANE)) == 1
    assert graph.deliveries_by(PROPERTY) == {"job-7": 2}
    folder = client.get(f"{client.at}/mailFolders/sentitems/messages").json()["value"]
    assert [message["subject"] for message in folder] == ["Invoice 7"]


def test_a_message_comes_as_mime(graph: Graph, client: Client) -> None:
    """Base64 of a MIME message is taken too; of its own headers only those with X- stay."""
    mail = EmailMessage()
    mail["To"] = "Bob <bob@customer.example>"
    mail["Cc"] = "carol@customer.example"
    mail["Subject"] = "Invoice 9"
    mail["Message-ID"] = "<9@acme.example>"
    mail["X-Job"] = "9"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content("Thank you")
    mail.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="9.pdf")
    headers = {"Content-Type": "text/plain"}
    body = base64.b64encode(mail.as_bytes())
    made = client.post(f"{client.at}/messages", content=body, headers=headers)
    assert made.status_code == 201
    assert client.post(f"{client.at}/sendMail", content=body, headers=headers).status_code == 202
    (sent,) = graph.sent(JANE)
    assert sent.recipients == ("bob@customer.example", "carol@customer.example")
    assert (sent.subject, sent.internet_message_id) == ("Invoice 9", "<9@acme.example>")
    assert sent.headers == (("X-Job", "9"),)
    assert [(file.name, file.content) for file in sent.attachments] == [("9.pdf", b"%PDF")]
    assert graph.violations == []
    refused = client.post(f"{client.at}/messages", content=b"no base64", headers=headers)
    assert refused.json()["error"]["code"] == "ErrorMimeContentInvalidBase64String"


def test_recipients_and_senders_are_looked_at_when_a_mail_leaves(
    graph: Graph, client: Client
) -> None:
    """A draft may have any; its send needs recipients, and the right to its sender's address."""
    nobody = client.post(f"{client.create(toRecipients=[])}/send")
    assert nobody.json()["error"]["code"] == "ErrorInvalidRecipients"
    odd = [{"emailAddress": {"address": "bob at customer"}}]
    wrong = client.post(f"{client.create(toRecipients=odd)}/send")
    assert wrong.json()["error"]["code"] == "ErrorInvalidRecipients"
    graph.mailbox(JANE).send_as = {"sales@acme.example"}
    boss = client.create(**{"from": {"emailAddress": {"address": "boss@acme.example"}}})
    denied = client.post(f"{boss}/send")
    assert code(denied) == (403, "ErrorSendAsDenied")
    sales = client.create(**{"from": {"emailAddress": {"address": "Sales@acme.example"}}})
    assert client.post(f"{sales}/send").status_code == 202
    assert len(graph.deliveries) == 1


def test_mailboxes_are_refused(graph: Graph, client: Client) -> None:
    """A mailbox may be out of reach, or none at all."""
    graph.mailbox(JANE).refusal = (404, "MailboxNotEnabledForRESTAPI")
    away = client.post(f"{client.at}/messages", json=client.message())
    assert code(away) == (404, "MailboxNotEnabledForRESTAPI")
    nobody = client.post("/v1.0/users/nobody/messages", json=client.message())
    assert code(nobody) == (404, "ErrorInvalidUser")
    assert graph.violations == []
