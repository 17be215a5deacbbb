"""Producers and workers of different versions: what one writes, the other delivers, or keeps whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.office import good_envelope, new_id, open_office, raw_id
from tests.support.versions import make_version
from tests.support.waiting import wait_until
from worker.ledger.rows import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.office import Office

GOLDEN = Path(__file__).parents[1] / "contract" / "golden"
USER = """\
[email]
allowed_from = ["@example.org", "@acme.example"]
address = "{name}@acme.example"
"""


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """A worker of today, with the company and users that golden payloads name."""
    root = tmp_path_factory.mktemp("golden")
    more = {"POSTMETER_ATTACHMENTS": str(root)}
    with open_office(root / "office", more_environ=more) as office:
        for name in ("jane", "jane.doe"):
            office.settings_file(f"companies/acme/users/{name}.toml", USER.format(name=name))
        system = (office.fleet.root / "settings" / "system.toml").read_text()
        reports = '\n[system]\nerror_reports_to = ["ops@example.nz"]\n'
        office.settings_file("system.toml", system + reports)
        office.settings_file("users/robot.toml", USER.format(name="robot"))
        yield office


def payloads() -> list[Path]:
    """Every golden payload of every version that was published."""
    return sorted(GOLDEN.glob("v*/*.json"))


def ends(payload: Path) -> tuple[State, str]:
    """What a golden job comes to, and words of its reason."""
    job = json.loads(payload.read_bytes())["kwargs"]["job"]
    if any("reference" in each for each in job.get("attachments", ())):
        return State.DEAD, "attachment 'plan.zip'"  # its file was never in the tree
    return (State.DRAFTED if job["kind"] == "compose" else State.SENT), ""


@pytest.mark.parametrize("payload", payloads(), ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_what_older_producers_wrote_is_delivered(office: Office, payload: Path) -> None:
    """Every golden payload, under an id of its own and not out of time, goes through a whole worker."""
    envelope = json.loads(payload.read_bytes())
    job = envelope["kwargs"]["job"]
    job["id"] = envelope["message_id"] = new_id()
    job.pop("expires_at", None)
    office.put(json.dumps(envelope).encode(), envelope["queue_name"])
    state, words = ends(payload)
    row = office.wait_for(job["id"], state)
    assert words in row.reason


def test_what_newer_producers_write_is_kept_for_the_newer_worker(tmp_path: Path) -> None:
    """Held whole by the old worker, which goes on with the rest; the next version delivers it."""
    newer = make_version(tmp_path / "newer", "0.2.0")
    source = newer.tree / "producers" / "job.py"
    text = source.read_text()
    assert text.count("SCHEMA_VERSION: Final = 1\n") == 1
    source.write_text(text.replace("SCHEMA_VERSION: Final = 1\n", "SCHEMA_VERSION: Final = 2\n"))
    with open_office(tmp_path / "office") as office:
        envelope = good_envelope(office.queues.send)
        job = envelope["kwargs"]["job"]
        job.update(schema_version=2, of_version_2="an old worker knows nothing of it")
        body = json.dumps(envelope).encode()
        office.put(body)
        held = office.wait_for(raw_id(body), State.WAITING)
        assert "upgrade it" in held.reason
        assert held.body == body
        assert office.delivers_promptly()
        following = newer.join(office.fleet)
        office.wait_for(job["id"], State.SENT)
        assert office.row(raw_id(body)) is None
        office.fleet._groups[0].ask_to_stop()
        assert office.fleet._groups[0].wait(30.0) == 0
        assert office.delivers_promptly()  # what version 1 writes, version 2 reads
        wait_until(lambda: set(office.fleet.states()) == {State.SENT}, "every job to be sent")
        following.ask_to_stop()
        assert following.wait(30.0) == 0
