"""The Graph for tests takes files as Microsoft's pages say: small ones at once, big ones in parts."""

from __future__ import annotations

import base64
import hashlib
import ssl
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.support.graphd_faults import CHUNK_LOST, CUT_AFTER
from tests.unit.support.graph_client import JANE, Client, code

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.graphd import Graph

MIB = 1024 * 1024
SIZE = 9 * MIB
PART = 3_932_160
CONTENT = bytes(range(256)) * (SIZE // 256)


def _session(client: Client, draft: str, **changed: Any) -> httpx.Response:
    item = {"attachmentType": "file", "name": "big.pdf", "size": SIZE, **changed}
    return client.post(f"{draft}/attachments/createUploadSession", json={"AttachmentItem": item})


@pytest.fixture
def upload(graph: Graph) -> Iterator[httpx.Client]:
    """A client for upload addresses, which get no token."""
    context = ssl.create_default_context(cafile=str(graph.ca_file))
    with httpx.Client(verify=context, trust_env=False) as made:
        yield made


def _put(upload: httpx.Client, url: str, start: int, **changed: str) -> httpx.Response:
    part = CONTENT[start : start + PART]
    headers = {
        "Content-Type": "application/octet-stream",
        "Content-Range": f"bytes {start}-{start + len(part) - 1}/{SIZE}",
        **changed,
    }
    return upload.put(url, content=part, headers=headers)


def test_a_small_file_is_attached_listed_and_removed(graph: Graph, client: Client) -> None:
    """POST attaches a file, GET lists it, DELETE takes it away."""
    draft = client.create()
    value = {
        "@odata.type": "#microsoft.graph.fileAttachment",
        "name": "7.pdf",
        "contentType": "application/pdf",
        "contentBytes": base64.b64encode(b"%PDF").decode(),
    }
    for _ in range(2):
        assert client.post(f"{draft}/attachments", json=value).status_code == 201
    query = {"$select": "id,name,size"}
    first, second = client.get(f"{draft}/attachments", params=query).json()["value"]
    assert (first["name"], first["size"]) == ("7.pdf", 4)
    assert client.delete(f"{draft}/attachments/{second['id']}").status_code == 204
    assert client.delete(f"{draft}/attachments/{second['id']}").status_code == 404
    client.post(f"{draft}/send")
    (mail,) = graph.sent(JANE)
    assert [(file.name, file.content) for file in mail.attachments] == [("7.pdf", b"%PDF")]
    assert graph.violations == []


def test_a_big_file_comes_in_parts(graph: Graph, client: Client, upload: httpx.Client) -> None:
    """Each part is answered with what is expected next, the last with where the attachment is."""
    draft = client.create()
    session = _session(client, draft, contentType="application/pdf")
    assert (session.status_code, session.json()["nextExpectedRanges"]) == (201, ["0-"])
    url = session.json()["uploadUrl"]
    for start in (0, PART):
        reply = _put(upload, url, start)
        assert (reply.status_code, reply.json()["nextExpectedRanges"]) == (200, [str(start + PART)])
    last = _put(upload, url, 2 * PART)
    assert last.status_code == 201
    (listed,) = client.get(f"{draft}/attachments").json()["value"]
    assert listed["id"] in last.headers["Location"]
    assert code(upload.get(url)) == (404, "itemNotFound")
    client.post(f"{draft}/send")
    (file,) = graph.sent(JANE)[0].attachments
    assert (file.name, file.content_type, file.size) == ("big.pdf", "application/pdf", SIZE)
    assert file.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert file.content is None
    assert graph.violations == []


def test_an_upload_is_taken_up_again(graph: Graph, client: Client, upload: httpx.Client) -> None:
    """After half a part was lost, and after a reply was, the address tells where to go on."""
    draft = client.create()
    url = _session(client, draft).json()["uploadUrl"]
    graph.script("upload", CHUNK_LOST, CUT_AFTER)
    for expected in (PART // 2, PART // 2 + PART):
        with pytest.raises(httpx.TransportError):
            _put(upload, url, int(upload.get(url).json()["nextExpectedRanges"][0]))
        assert upload.get(url).json()["nextExpectedRanges"] == [str(expected)]
    overlap = _put(upload, url, PART // 2)
    assert code(overlap) == (416, "invalidRange")
    assert overlap.json()["error"]["innerError"]["code"] == "fragmentOverlap"
    assert _put(upload, url, PART // 2 + PART).status_code == 201
    assert graph.drafts(JANE)[0].attachments[0].sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert graph.violations == []


def test_the_last_part_may_have_come_though_its_reply_was_lost(
    graph: Graph, client: Client, upload: httpx.Client
) -> None:
    """The session is gone then, and the draft has the file."""
    draft = client.create()
    url = _session(client, draft).json()["uploadUrl"]
    _put(upload, url, 0)
    _put(upload, url, PART)
    graph.script("upload", CUT_AFTER)
    with pytest.raises(httpx.TransportError):
        _put(upload, url, 2 * PART)
    assert code(upload.get(url)) == (404, "itemNotFound")
    assert [file["size"] for file in client.get(f"{draft}/attachments").json()["value"]] == [SIZE]


def test_a_session_can_be_ended(graph: Graph, client: Client, upload: httpx.Client) -> None:
    """DELETE of the address ends the session, and so does the end of its draft."""
    draft = client.create()
    url = _session(client, draft).json()["uploadUrl"]
    assert upload.delete(url).status_code == 204
    assert code(upload.get(url)) == (404, "itemNotFound")
    other = _session(client, draft).json()["uploadUrl"]
    client.delete(draft)
    assert code(upload.get(other)) == (404, "itemNotFound")
    assert graph.violations == []


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"size": 2_999_999}, (400, "ErrorAttachmentSizeShouldNotBeLessThanMinimumSize")),
        ({"size": 150 * MIB + 1}, (413, "ErrorMessageSizeExceeded")),
        ({"size": "9"}, (400, "RequestBodyRead")),
        ({"attachmentType": "folder"}, (400, "RequestBodyRead")),
        ({"contentBytes": ""}, (400, "RequestBodyRead")),
    ],
)
def test_a_session_of_another_shape_is_refused(
    graph: Graph, client: Client, changed: dict[str, Any], error: tuple[int, str]
) -> None:
    """A session is for files from 3 to 150 MB, described as the page says."""
    assert code(_session(client, client.create(), **changed)) == error
    assert len(graph.violations) == 1


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"Authorization": "Bearer good"}, 401),
        ({"Content-Type": "application/pdf"}, 400),
        ({"Content-Range": f"bytes 0-{PART - 1}"}, 400),
        ({"Content-Range": f"bytes 0-{PART}/{SIZE}"}, 400),
        ({"Content-Range": f"bytes 0-{PART - 1}/{SIZE + 1}"}, 400),
    ],
)
def test_a_part_of_another_shape_is_refused(
    graph: Graph, client: Client, upload: httpx.Client, changed: dict[str, str], status: int
) -> None:
    """A part has its range and its type, and its address needs no token."""
    url = _session(client, client.create()).json()["uploadUrl"]
    assert _put(upload, url, 0, **changed).status_code == status
    assert len(graph.violations) == 1
    assert upload.get(url).json()["nextExpectedRanges"] == ["0"]


def test_parts_come_in_order_small_and_to_the_address_as_it_is(
    graph: Graph, client: Client, upload: httpx.Client
) -> None:
    """A part ahead of its turn is answered 416; one of 4 MB, and an altered address, are violations."""
    url = _session(client, client.create()).json()["uploadUrl"]
    ahead = _put(upload, url, PART)
    assert ahead.json()["error"]["innerError"]["code"] == "fragmentOutOfOrder"
    assert graph.violations == []
    big = {
        "Content-Type": "application/octet-stream",
        "Content-Range": f"bytes 0-{4 * MIB - 1}/{SIZE}",
    }
    assert upload.put(url, content=CONTENT[: 4 * MIB], headers=big).status_code == 413
    assert _put(upload, f"{url}&more=1", 0).status_code == 401
    assert len(graph.violations) == 2


def test_a_message_has_the_size_that_its_mailbox_lets(graph: Graph, client: Client) -> None:
    """A file too big for the mailbox's limit is refused."""
    graph.mailbox(JANE).size_limit_bytes = 4 * MIB
    assert code(_session(client, client.create())) == (413, "ErrorMessageSizeExceeded")
