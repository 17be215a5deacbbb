"""Payloads of each published version: never edited, always readable, and written the same way."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import dramatiq
import jsonschema
import pytest

from producers import schema_build
from producers.envelope import decode, encode
from tests.support.jobs import NOW

V1 = Path(__file__).parent / "golden" / "v1"
QUEUES = {"batch.json": "postmeter.batch"}
#: A new file is added here once; a changed digest means that the contract was broken.
DIGESTS = {
    "batch.json": "5fee58e171146f839f9ec90d495e12d25e07befbb04f5d5c48c989cba3676b79",
    "compose.json": "8d138c8a90f07e6a9165f2bd0760c1e567b668aa890b2749130fdc84a8a28245",
    "error_report.json": "9c98b32082a0a725697327773e5055472f4df76f0c0d930cec1cc27147320b15",
    "foreign_client.json": "cd7bb60158efd281b106b5c2d204915771c7ad4151f373050b6a830e2fe1e307",
    "send_full.json": "d05b8677ddafd8e88ccc0784b66d62136948127e8bc419b24b30975c16b63131",
    "send_minimal.json": "b689195062db0e60da14c6db6f91215c5a26d0e406f753c159a051e9648771e4",
}
FINGERPRINTS = {
    "batch.json": "d181826fafc266464fcbb9eb8febf6fc0c347c97f32dc7de7771248de38b3324",
    "compose.json": "db9fe150b5d7bd051b80a1029da5ab813c6094d926bd3106dfde26eb66004683",
    "error_report.json": "991c5612c44089345f33fded94743cae59c90540ec1209549e11bc0be2a17084",
    "foreign_client.json": "6f0dea8c276b397a3b45f682053fa2ee5262dc368afbd6ecedd69d432a78af3a",
    "send_full.json": "db2d3e31f4319b3c81791cd2642caed9b4832529374f54e86666fa1a6dd08de8",
    "send_minimal.json": "8c233610551b394dce2eb9f7dec8896b726d0ea1a9d39054a5e788365b002cd1",
}


def queue_of(name: str) -> str:
    """The queue that a golden payload came from."""
    return QUEUES.get(name, "postmeter.send")


def test_golden_files_are_never_edited() -> None:
    """Every file is the one that was committed first, and none is missing."""
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in V1.iterdir()}
    assert found == DIGESTS


@pytest.mark.parametrize("name", sorted(DIGESTS))
def test_golden_payloads_are_read(name: str) -> None:
    """A worker of today reads what a producer of that version wrote, with the same fingerprint."""
    job = decode((V1 / name).read_bytes(), queue_of(name), now=NOW)
    assert job.enqueued_at == NOW
    assert job.fingerprint() == FINGERPRINTS[name]


@pytest.mark.parametrize("name", sorted(set(DIGESTS) - {"foreign_client.json"}))
def test_golden_payloads_are_written(name: str) -> None:
    """A producer of today writes the very bytes, so that a worker of that version reads them."""
    body = (V1 / name).read_bytes()
    assert encode(decode(body, queue_of(name), now=NOW), queue_of(name)) == body


@pytest.mark.parametrize("name", sorted(DIGESTS))
def test_dramatiq_reads_them(name: str) -> None:
    """The outer envelope is Dramatiq's own, to the letter."""
    body = (V1 / name).read_bytes()
    if name == "foreign_client.json":
        decoded = json.loads(body)
        del decoded["broker"]  # Dramatiq itself knows no further key
        body = json.dumps(decoded).encode()
    message = dramatiq.Message.decode(body)
    job = decode(body, queue_of(name), now=NOW)
    assert message.queue_name == queue_of(name)
    assert message.actor_name == ("batch" if job.kind == "batch" else "send")
    assert message.kwargs["job"]["id"] == job.id
    assert message.args == ()
    assert message.message_timestamp == 1_795_507_200_000
    if name != "foreign_client.json":
        assert message.message_id == job.id
        assert dramatiq.Message.decode(message.encode()) == message


def test_dramatiq_writes_what_is_read() -> None:
    """An application that has Dramatiq may publish with a Message of it."""
    fields = json.loads((V1 / "send_minimal.json").read_bytes())["kwargs"]["job"]
    message: dramatiq.Message[Any] = dramatiq.Message(
        queue_name="postmeter.send", actor_name="send", args=(), kwargs={"job": fields}, options={}
    )
    assert decode(message.encode(), "postmeter.send", now=NOW).id == fields["id"]


@pytest.mark.parametrize("name", sorted(DIGESTS))
def test_golden_payloads_fit_the_schema(name: str) -> None:
    """The published JSON Schema describes what is published."""
    fields = json.loads((V1 / name).read_bytes())["kwargs"]["job"]
    jsonschema.Draft202012Validator(schema_build.job_schema()).validate(fields)


def test_the_schema_refuses_what_is_no_job() -> None:
    """It is a schema, not a blank page."""
    validator = jsonschema.Draft202012Validator(schema_build.job_schema())
    fields = json.loads((V1 / "send_minimal.json").read_bytes())["kwargs"]["job"]
    for change in ({"schema_version": 2}, {"kind": "later"}, {"company": "Acme"}, {"to": 5}):
        assert not validator.is_valid({**fields, **change})
    for name in ("schema_version", "id", "kind", "subject", "enqueued_at"):
        assert not validator.is_valid({key: fields[key] for key in fields if key != name})


@pytest.mark.parametrize("name", sorted(schema_build.files()))
def test_committed_schema_is_current(name: str) -> None:
    """Run ``python -m producers.schema_build`` when this fails."""
    assert (schema_build.FOLDER / name).read_text("utf-8") == schema_build.files()[name]


def test_asyncapi_names_what_is_declared() -> None:
    """The AsyncAPI page is JSON, so YAML too, and names the queues and the envelope's keys."""
    page = json.loads(schema_build.asyncapi())
    assert page["asyncapi"] == "3.0.0"
    addresses = {channel["address"] for channel in page["channels"].values()}
    assert {"postmeter.send", "postmeter.batch"} < addresses
    schema = page["components"]["messages"]["job"]["payload"]["schema"]
    assert set(json.loads((V1 / "send_full.json").read_bytes())) == set(schema["required"])
