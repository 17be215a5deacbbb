"""``postmeter send`` and ``postmeter batch send``: what is published, and what is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from producers.envelope import decode
from producers.identity import batch_job_id
from producers.inbox import Inbox
from tests.support.ledger import ACCEPTED
from worker.cli.emails import Moment
from worker.cli.progress import Progress
from worker.ledger.rows import State

if TYPE_CHECKING:
    from pathlib import Path

    from producers.job import Job
    from tests.unit.cli.conftest import Place

ONE = ("send", "--company", "acme", "--to", "kim@example.org", "--subject", "Hello")
LETTER = "Subject: Invoice for {{name}}\n\nDear {{name}}\n"
PEOPLE = "name,email\nJane,jane@example.org\nNobody,\nBob,bob@example.org\n"


def published(place: Place, queue: str = "postmeter.send") -> list[Job]:
    """The jobs that lie in a queue."""
    inbox = Inbox(place.root / "state" / "inbox.db")
    try:
        return [decode(taken.body, queue) for taken in inbox.dead(queue)]
    finally:
        inbox.close()


@pytest.fixture
def files(place: Place) -> Path:
    """A folder with a letter, a file of people, one of them without an address."""
    (place.root / "letter.txt").write_text(LETTER)
    (place.root / "people.csv").write_text(PEOPLE)
    return place.root


def batch(place: Place, *more: str, exits: int = 0) -> str:
    """Send the people their letter."""
    words = ("batch", "send", f"{place.root}/people.csv", "--template", f"{place.root}/letter.txt")
    result = place.run(*words, "--company", "acme", *more, exits=exits)
    return result.stdout + result.stderr


def test_one_email_is_published_and_its_id_printed(place: Place) -> None:
    """What the command line says is in the job; nothing else is on stdout."""
    said = place.run(
        *ONE, "--text", "Hi", "--to", "lee@example.org", "--from", "jane@example.nz", "--key", "k1"
    )
    (job,) = published(place)
    assert said.stdout == f"{job.id}\n"
    assert (job.company, job.to) == ("acme", ("kim@example.org", "lee@example.org"))
    assert (job.text, job.sender, job.idempotency_key) == ("Hi", "jane@example.nz", "k1")


def test_text_comes_from_standard_input_and_files_are_attached(place: Place) -> None:
    """``-`` is standard input; an attachment has the type its name suggests."""
    (place.root / "bill.pdf").write_bytes(b"%PDF")
    place.run(*ONE, "--text-file", "-", "--attach", f"{place.root}/bill.pdf", text="Grüße")
    (job,) = published(place)
    (attached,) = job.attachments
    assert job.text == "Grüße"
    assert (attached.name, attached.content_type) == ("bill.pdf", "application/pdf")


def test_a_time_without_a_zone_is_this_machines(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Send times are published in UTC."""
    monkeypatch.setenv("TZ", "UTC")
    place.run(*ONE, "--text", "x", "--send-at", "2026-12-24T18:00+13:00")
    (job,) = published(place)
    assert job.send_at is not None
    assert job.send_at.isoformat() == "2026-12-24T05:00:00+00:00"
    assert Moment().convert("2026-12-24T05:00", None, None).tzinfo is not None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--text", "x", "--text-file", "-"), "give --text or --text-file, not both"),
        (("--text-file", "-", "--html-file", "-"), "only one of --text-file and --html-file"),
        (("--text-file", "/nowhere/x"), "cannot read /nowhere/x (No such file or directory)"),
        (("--text", "x", "--attach", "/nowhere/x"), "cannot attach /nowhere/x"),
        (("--text", "x", "--send-at", "soon"), "'soon' is no time"),
        (("--text", "x", "--to", "a@b.nz,c@d.nz"), "a comma separates nothing here"),
        ((), "give text, html or both"),
    ],
)
def test_what_cannot_be_sent_is_refused_in_one_line(
    place: Place, words: tuple[str, ...], said: str
) -> None:
    """Wrong usage has code 2, and nothing is published."""
    result = place.run(*ONE, *words, exits=2)
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (place.root / "state" / "inbox.db").exists() or published(place) == []


def test_waiting_without_a_worker_says_that_it_stays_published(place: Place) -> None:
    """Nobody took it in within the time: code 1, and the id to ask with later."""
    result = place.run(*ONE, "--text", "x", "--wait", "0.01", exits=1)
    assert "it stays published" in result.stderr
    assert result.stdout.strip() == published(place)[0].id


def test_waiting_ends_with_what_became_of_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sent is code 0 and told with the server's words; dead is code 1 with the reason."""
    monkeypatch.setattr("producers.client.uuid7", lambda: SENT)
    place.start_worker()
    place.accept(SENT, kind="send")
    place.attempt(SENT, ACCEPTED, kind="send")
    assert (
        place.run(*ONE, "--text", "x", "--wait", "5").stdout == f"{SENT}\nsent: 250 2.0.0 queued\n"
    )
    monkeypatch.setattr("producers.client.uuid7", lambda: DEAD)
    place.accept(DEAD, state=State.DEAD, reason="550 no kim@example.org here")
    result = place.run(*ONE, "--text", "x", "--wait", "5", "--json", exits=1)
    told = json.loads(result.stdout)
    assert (told["state"], told["reason"]) == ("dead", "550 no k…m@example.org here")


SENT = "01a20cb0-4ed7-71be-85fe-7a736bd3a48b"
DEAD = "01a20cb0-4ed7-71be-85fe-7a736bd3a48c"


def test_bad_rows_are_listed_by_line_and_nothing_is_published(place: Place, files: Path) -> None:
    """The file is checked whole first."""
    said = batch(place, exits=2)
    assert f"{files}/people.csv:3: to: no recipients" in said
    assert "1 bad row" in said
    assert not (files / "state").exists()


def test_a_batch_without_its_bad_rows_keeps_every_rows_id(place: Place, files: Path) -> None:
    """A mended file sent again as the same batch doubles nothing: a row's place is its id."""
    assert "2 emails published, 1 bad row left out" in batch(
        place, "--on-invalid", "skip", "--batch-id", "november"
    )
    first = {job.id for job in published(place, "postmeter.batch")}
    assert first == {batch_job_id("acme", "november", index) for index in (0, 2)}
    (files / "people.csv").write_text(PEOPLE.replace("Nobody,", "Nobody,nobody@example.org"))
    batch(place, "--batch-id", "november")
    again = [job.id for job in published(place, "postmeter.batch")][2:]
    assert set(again) - first == {batch_job_id("acme", "november", 1)}


def test_a_dry_run_publishes_nothing(place: Place, files: Path) -> None:
    """Everything is checked, and the result told."""
    said = batch(place, "--dry-run", "--on-invalid", "skip")
    assert "2 emails would be published, 1 bad row left out" in said
    assert not (files / "state").exists()


def test_the_result_as_json_names_lines(place: Place, files: Path) -> None:
    """A script gets the batch's id, counts, and each bad row."""
    words = ("batch", "send", f"{files}/people.csv", "--template", f"{files}/letter.txt")
    result = place.run(*words, "--on-invalid", "skip", "--json")
    told = json.loads(result.stdout)
    assert (told["published"], told["valid"]) == (2, 2)
    assert [each["line"] for each in told["invalid"]] == [3]


@pytest.mark.parametrize(
    ("letter", "people", "said"),
    [
        ("Subject: {{nme}}\n\nx", PEOPLE, "letter.txt: template line 1: {{nme}} is no column"),
        ("no header\n", PEOPLE, "letter.txt: template line 1"),
        (LETTER, "", "people.csv: the file is empty"),
    ],
)
def test_a_wrong_file_is_named(
    place: Place, files: Path, letter: str, people: str, said: str
) -> None:
    """The one line says which of the two files to mend, and where."""
    (files / "letter.txt").write_text(letter)
    (files / "people.csv").write_text(people)
    assert said in batch(place, exits=2)


def test_attachments_go_with_every_email(place: Place, files: Path) -> None:
    """Each row's mail has the file."""
    batch(place, "--on-invalid", "skip", "--attach", f"{files}/letter.txt")
    jobs = published(place, "postmeter.batch")
    assert [job.attachments[0].name for job in jobs] == ["letter.txt", "letter.txt"]


def test_an_attachment_that_is_too_large_is_refused_before_anything_is_published(
    place: Place, files: Path
) -> None:
    """The size with attachments is checked as well."""
    (files / "huge.bin").write_bytes(bytes(13 << 20))
    said = batch(place, "--on-invalid", "skip", "--attach", f"{files}/huge.bin", exits=2)
    assert "attach large files by reference" in said
    assert not (files / "state").exists()


def test_progress_is_a_line_now_and_then_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """At most one line in five seconds, on stderr."""
    now = [0.0]
    with Progress(1000, clock=lambda: now[0]) as progress:
        for second in range(11):
            now[0] = float(second)
            progress.tell(second * 90)
    assert capsys.readouterr().err == "450 of 1,000 published\n900 of 1,000 published\n"
