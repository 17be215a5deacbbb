"""``postmeter compose`` and ``status --eml``: where a draft is, and how a person gets at it."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from producers.envelope import decode
from producers.inbox import Inbox
from tests.support.ledger import ACCEPTED, new_job
from worker.ledger import deliveries, drafts, endings, lanes
from worker.ledger.lanes import Lane
from worker.ledger.rows import Claim, Settlement, State
from worker.outcome import Draft, Outcome

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tests.unit.cli.conftest import Place
    from worker.ledger.clock import Now

JOB = "01a20cb0-4ed7-71be-85fe-7a736bd3a48b"
LINK = "https://outlook.example.net/mail/AAMk="
REMOTE = Draft("AAMk=", LINK)
FILE = Draft(content=b"X-Unsent: 1\r\nTo: kim@example.org\r\n\r\nHi\r\n")
WORDS = ("compose", "--company", "acme", "--to", "kim@example.org", "--subject", "Hi", "--text")


def draft(place: Place, made: Draft, job_id: str = JOB) -> None:
    """Let a worker have made this draft."""
    lane = Lane("acme", "jane", "compose")
    place.start_worker()

    def operation(connection: Connection, now: Now) -> None:
        deliveries.accept(connection, now, new_job(job_id, kind="compose"))
        claim = lanes.take(connection, now, lane, [], worker="w1", token="t", ahead_seconds=0.0)
        assert isinstance(claim, Claim)
        drafted = Settlement(State.DRAFTED, Outcome.DRAFTED, event="drafted", draft=made)
        assert endings.settle(connection, now, job_id, "t", 1, drafted, begun=False)

    place.do(operation)


def test_a_compose_job_is_published_with_the_users_defaults(place: Place) -> None:
    """Published as kind compose; nobody takes it in, so code 1 and the id to ask with later."""
    result = place.run(*WORDS, "x", "--bcc", "lee@example.org", "--wait", "0.01", exits=1)
    inbox = Inbox(place.root / "state" / "inbox.db")
    (taken,) = inbox.dead("postmeter.send")
    inbox.close()
    job = decode(taken.body, "postmeter.send")
    assert (job.kind, job.bcc, job.apply_user_defaults) == ("compose", ("lee@example.org",), True)
    assert result.stdout == f"{job.id}\n"
    assert "it stays published" in result.stderr


def test_without_waiting_only_the_id_is_printed(place: Place) -> None:
    """``--wait 0`` publishes and ends well; as JSON too."""
    assert len(place.run(*WORDS, "x", "--wait", "0").stdout.splitlines()) == 1
    assert set(place.json(*WORDS, "x", "--wait", "0")) == {"job_id", "message_id"}


def test_the_link_of_a_draft_in_the_mailbox_is_printed(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Id, outcome, link; the same in JSON and in ``status``, where no file can be written."""
    monkeypatch.setattr("producers.client.uuid7", lambda: JOB)
    draft(place, REMOTE)
    assert place.run(*WORDS, "x").stdout == f"{JOB}\ndrafted\n{LINK}\n"
    told = place.json(*WORDS, "x")
    assert (told["state"], told["draft"]["kind"]) == ("drafted", "microsoft-365")
    assert (told["draft"]["web_link"], told["draft"]["size_bytes"]) == (LINK, None)
    assert place.json("status", JOB)["draft"] == told["draft"]
    assert LINK in place.run("status", JOB).stdout
    refused = place.run("status", JOB, "--eml", f"{place.root}/x.eml", exits=1)
    assert f"is no file: {LINK}" in refused.stderr
    assert not (place.root / "x.eml").exists()


def test_the_way_to_the_file_is_printed_and_works(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence names the command, which writes every byte and says where the draft is."""
    monkeypatch.setattr("producers.client.uuid7", lambda: JOB)
    draft(place, FILE)
    told = place.run(*WORDS, "x").stdout.splitlines()
    assert FILE.content is not None
    size = len(FILE.content)
    assert told[-1] == (
        f"an unsent message of {size} bytes: `postmeter status {JOB} --eml FILE` writes it"
    )
    path = place.root / "draft.eml"
    shown = place.run("status", JOB, "--eml", str(path)).stdout
    assert path.read_bytes() == FILE.content
    assert "an unsent message of" in shown
    assert place.json("status", JOB)["draft"]["kind"] == "eml"
    assert place.run("status", JOB, "--eml", "-").stdout_bytes == FILE.content


def test_the_same_key_leads_to_the_draft_that_is_there(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy ends well, and the way to the first one's draft is told."""
    again = JOB.replace("48b", "48c")
    monkeypatch.setattr("producers.client.uuid7", lambda: again)
    draft(place, REMOTE)
    reason = f"duplicate of {JOB}: same idempotency key"
    place.accept(again, kind="compose", state=State.CANCELLED, reason=reason)
    told = place.run(*WORDS, "x", "--key", "offer-17").stdout.splitlines()
    assert told == [again, f"cancelled: {reason}", "drafted", LINK]
    assert place.json(*WORDS, "x", "--key", "offer-17")["draft"]["web_link"] == LINK


@pytest.mark.parametrize("first", [State.WAITING, State.DEAD, State.UNKNOWN])
def test_a_copy_of_what_is_not_drafted_does_not_end_well(
    place: Place, monkeypatch: pytest.MonkeyPatch, first: State
) -> None:
    """Code 1, and which job it is that has no draft (yet); JSON says its state too."""
    again = JOB.replace("48b", "48c")
    monkeypatch.setattr("producers.client.uuid7", lambda: again)
    place.accept(JOB, kind="compose", state=first)
    reason = f"duplicate of {JOB}: same idempotency key"
    place.accept(again, kind="compose", state=State.CANCELLED, reason=reason)
    refused = place.run(*WORDS, "x", "--key", "offer-17", "--wait", "0.2", exits=1)
    assert f"{JOB} is {first} after" in refused.stderr
    told = place.json(*WORDS, "x", "--key", "offer-17", "--wait", "0.2", exits=1)
    assert (told["job_id"], told["state"], told["draft"]) == (again, first, None)


def test_a_link_is_never_broken(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal too, where sentences are: else nobody could click on it or copy it."""
    monkeypatch.setattr("producers.client.uuid7", lambda: JOB)
    monkeypatch.setattr("worker.cli.render.width", lambda: 80)
    long = Draft("AAMk=", f"{LINK}?ItemID={'A' * 200}%3D%3D&exvsurl=1&viewmodel=ReadMessageItem")
    draft(place, long)
    assert long.web_link in place.run(*WORDS, "x").stdout.splitlines()
    shown = [line for line in place.run("status", JOB).stdout.splitlines() if "https:" in line]
    assert [line.split()[-1] for line in shown] == [long.web_link]


def test_a_file_that_is_there_is_not_overwritten_unasked(place: Place) -> None:
    """Code 2 and the option that does it; a folder that is not there is told of too."""
    draft(place, FILE)
    path = place.root / "draft.eml"
    path.write_text("mine")
    refused = place.run("status", JOB, "--eml", str(path), exits=2)
    assert "is there already: --force overwrites it" in refused.stderr
    assert path.read_text() == "mine"
    place.run("status", JOB, "--eml", str(path), "--force")
    assert path.read_bytes() == FILE.content
    nowhere = place.run("status", JOB, "--eml", "/nowhere/draft.eml", exits=2)
    assert "cannot write /nowhere/draft.eml (No such file or directory)" in nowhere.stderr


@pytest.mark.parametrize("is_there", [False, True])
def test_a_full_disk_leaves_no_part_of_a_file(
    place: Place, monkeypatch: pytest.MonkeyPatch, *, is_there: bool
) -> None:
    """What was there stays whole, what was not is not there now, and nothing lies beside it."""
    draft(place, FILE)
    folder = place.root / "drafts"
    folder.mkdir()
    path = folder / "draft.eml"
    if is_there:
        path.write_text("mine")

    def full(_file: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("worker.cli.drafts.os.fsync", full)
    force = ("--force",) if is_there else ()
    refused = place.run("status", JOB, "--eml", str(path), *force, exits=2)
    assert "draft.eml (No space left on device)" in refused.stderr
    assert {each.name: each.read_text() for each in folder.iterdir()} == (
        {"draft.eml": "mine"} if is_there else {}
    )


def test_a_link_and_a_pipe_are_written_through(place: Place) -> None:
    """A link goes on to lead to the file, and what is no file is not replaced by one."""
    draft(place, FILE)
    path, link = place.root / "draft.eml", place.root / "link.eml"
    path.write_text("mine")
    link.symlink_to(path)
    place.run("status", JOB, "--eml", str(link), "--force")
    assert link.is_symlink()
    assert path.read_bytes() == FILE.content
    pipe = place.root / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    place.run("status", JOB, "--eml", str(pipe), "--force")
    assert os.read(reader, 1000) == FILE.content
    os.close(reader)
    assert pipe.is_fifo()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--eml", "x"), 2, "--eml needs the JOB"),
        ((JOB, "--eml", "-", "--json"), 2, "only one can be on standard output"),
        (("none", "--eml", "-"), 1, "the ledger has no job none"),
        (("a", "--eml", "-"), 1, "a is waiting: it has no draft"),
    ],
)
def test_what_has_no_file_is_refused_in_one_line(
    place: Place, words: tuple[str, ...], code: int, said: str
) -> None:
    """Nothing is printed but why."""
    place.accept("a")
    result = place.run("status", *words, exits=code)
    assert said in result.stderr
    assert (result.stdout, result.stderr.count("\n")) == ("", 1)


def test_a_mail_that_was_sent_from_a_draft_is_no_draft(place: Place) -> None:
    """What Graph made before sending is not shown as something to edit."""
    place.start_worker()
    place.accept("a")
    place.attempt("a", ACCEPTED)
    place.do(lambda c, now: drafts.keep(c, now, "a", REMOTE))
    assert place.json("status", "a")["draft"] is None
    assert LINK not in place.run("status", "a").stdout
