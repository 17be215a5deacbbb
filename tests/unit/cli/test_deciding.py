"""``cancel``, ``dead``, ``unknown``, ``holds clear``: what a person decides is done, and told."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from producers.emails import Email
from producers.envelope import encode
from producers.identity import uuid7
from tests.support.ledger import ACCEPTED, LOST
from worker.ledger import holds
from worker.ledger.rows import UNREADABLE, State
from worker.ledger.upgrade import newest_version

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Place

SERVER = "server:smtp.example.nz:587"


@pytest.fixture(autouse=True)
def _worker(place: Place) -> None:
    """A worker is there."""
    place.start_worker()


def unreadable(place: Place, body: bytes) -> None:
    """Put a dead letter into the ledger that nobody could read."""
    place.accept(
        "raw-1",
        kind=UNREADABLE,
        company="_system",
        user="",
        state=State.DEAD,
        body=body,
        reason="no actor could deal with it",
    )


def test_what_waits_is_cancelled_and_what_left_is_not(place: Place) -> None:
    """Each id is told; code 1 if one could not be cancelled."""
    place.accept("a")
    place.attempt("a", ACCEPTED)
    place.accept("b")
    result = place.run("cancel", "b", "a", "c", exits=1)
    assert result.stdout == "cancelled: b\n"
    assert result.stderr == "postmeter: a is sent already (and 1 more)\n"
    assert place.state("b") == "cancelled"


def test_what_is_in_data_is_too_late_to_cancel(place: Place) -> None:
    """The mail is on the wire."""
    place.accept("a")
    place.attempt("a", None)
    assert "too late" in place.run("cancel", "a", exits=1).stderr
    assert place.state("a") == "data"


def test_dead_emails_are_listed_with_their_reasons(place: Place) -> None:
    """The newest first, addresses masked, and how many more there are."""
    place.accept("a", "b", state=State.DEAD, reason="550 <kim@example.org> unknown")
    told = place.json("dead", "list", "--most", "1")
    assert told["total"] == 2
    assert told["jobs"][0]["reason"] == "550 <k…m@example.org> unknown"
    assert "and 1 more (--most 2)" in place.run("dead", "list", "--most", "1").stdout
    assert place.run("dead", "list", "--company", "beta").stdout == "nothing is dead\n"


def test_dead_emails_are_retried_by_id_by_reason_or_all(place: Place) -> None:
    """Only those that are meant wait again."""
    place.accept("a", "b", "c", state=State.DEAD, reason="550 no such user")
    place.accept("d", state=State.DEAD, reason="expired")
    assert place.run("dead", "retry", "a").stdout == "waiting again: a\n"
    assert place.run("dead", "retry", "--reason", "SUCH USER").stdout == "waiting again: 2 jobs\n"
    assert [place.state(each) for each in "abcd"] == ["waiting", "waiting", "waiting", "dead"]
    assert place.json("dead", "retry", "--all") == {"waiting again": ["d"], "refused": {}}


@pytest.mark.parametrize("words", [(), ("a", "--all"), ("a", "--reason", "x")])
def test_retry_wants_ids_or_a_rule(place: Place, words: tuple[str, ...]) -> None:
    """Neither nothing nor both."""
    said = place.run("dead", "retry", *words, exits=2).stderr
    assert "name jobs by id, or with --reason, --company or --all" in said


def test_a_dead_email_whose_key_was_used_again_is_not_retried(place: Place) -> None:
    """Two mails under one key would be the doubling that the key forbids."""
    place.accept("a", state=State.DEAD, idempotency_key="k")
    place.accept("b", idempotency_key="k")
    result = place.run("dead", "retry", "a", exits=1)
    assert "shares its idempotency key with b" in result.stderr
    assert place.state("a") == "dead"


def test_an_unreadable_message_that_can_be_read_now_gets_a_row_of_its_own(place: Place) -> None:
    """It waits as the job that it is, and the unreadable row is gone; from either queue."""
    email = Email("kim@example.org", "Hello", text="x")
    job = email.to_job("batch", uuid7(), company="acme", user="jane", batch=("november", 0))
    unreadable(place, encode(job, "postmeter.batch"))
    assert place.run("dead", "retry", "--all").stdout == "waiting again: raw-1\n"
    assert place.state(job.id) == "waiting"
    assert "has no job raw-1" in place.run("status", "raw-1", exits=1).stderr


def test_an_unreadable_message_stays_dead_with_its_reason(place: Place) -> None:
    """Nothing is lost by trying; ``dead show`` shows how it begins, harmlessly."""
    unreadable(place, b'\x1b[2J{"to": "kim@example.org"}')
    said = place.run("dead", "retry", "raw-1", exits=1).stderr
    assert "raw-1 still can't be read: not JSON" in said
    shown = place.run("dead", "show", "raw-1").stdout
    assert 'the message begins: ·[2J{"to": "k…m@example.org"}' in shown
    assert place.json("dead", "show", "raw-1", "--addresses")["message"].endswith('org"}')


def test_dropping_by_a_rule_wants_to_be_asked_or_told(place: Place) -> None:
    """Away from a terminal nothing is dropped by a rule without ``--yes``."""
    unreadable(place, b"{}")
    place.accept("a", state=State.DEAD)
    assert "add --yes" in place.run("dead", "drop", "--all", exits=2).stderr
    assert place.state("a") == "dead"
    assert place.run("dead", "drop", "--all", "--yes").stdout == "dropped: 2 jobs\n"
    assert place.state("a") == "cancelled"
    assert place.run("dead", "list").stdout == "nothing is dead\n"


def test_only_the_dead_are_dropped(place: Place) -> None:
    """A waiting job is cancelled by ``cancel``, never by a slip of ``dead drop``."""
    place.accept("a")
    assert "a is waiting, not dead" in place.run("dead", "drop", "a", exits=1).stderr
    assert place.state("a") == "waiting"


def test_unknown_emails_are_resent_or_marked(place: Place) -> None:
    """A person's decision ends the doubt."""
    for job_id in ("a", "b"):
        place.accept(job_id)
        place.attempt(job_id, LOST)
    assert place.json("unknown", "list")["total"] == 2
    assert place.run("unknown", "resend", "a").stdout == "waiting again: a\n"
    assert place.run("unknown", "mark-sent", "--all").stdout == "marked as sent: b\n"
    assert [place.state("a"), place.state("b")] == ["waiting", "sent"]
    assert "a is waiting, not unknown" in place.run("unknown", "resend", "a", exits=1).stderr


def test_a_hold_is_shown_and_cleared(place: Place) -> None:
    """What is not held is told, and has code 1."""
    assert place.run("holds").stdout == "nothing is held\n"
    place.do(lambda c, now: holds.put_hold(c, now, SERVER, "connection refused"))
    (hold,) = place.json("holds")["holds"]
    assert (hold["target"], hold["reason"]) == (SERVER, "connection refused")
    assert SERVER in place.run("holds").stdout
    result = place.run("holds", "clear", SERVER, "account:acme/jane", exits=1)
    assert result.stdout == f"cleared {SERVER}\n"
    assert result.stderr == "postmeter: nothing holds account:acme/jane\n"


def test_clearing_tells_a_script_what_became_of_each_target(place: Place) -> None:
    """Cleared, still paused by a person, or not held at all; named twice is done once."""
    place.do(lambda c, now: holds.put_hold(c, now, SERVER, "refused"))
    place.do(lambda c, now: holds.put_hold(c, now, "all", "refused"))
    place.run("pause", "all")
    place.run("pause", "system")
    targets = (SERVER, SERVER, "all", "system", "account:acme/jane")
    assert place.json("holds", "clear", *targets, exits=1) == {
        "cleared": [SERVER, "all"],
        "paused": ["all", "system"],
        "not_held": ["account:acme/jane"],
    }
    place.do(lambda c, now: holds.put_hold(c, now, SERVER, "refused"))
    told = place.json("holds", "clear", SERVER)
    assert told == {"cleared": [SERVER], "paused": [], "not_held": []}


def test_a_batch_is_cancelled_and_the_same_name_elsewhere_is_not(place: Place) -> None:
    """Two companies may both have a batch november: the command wants to know whose."""
    place.accept("a", "b", batch_id="november", batch_index=0)
    place.accept("x", batch_id="november", batch_index=0, company="beta")
    place.attempt("a", ACCEPTED)
    said = place.run("batch", "cancel", "november", exits=2).stderr
    assert "november is a batch of acme, beta: add --company" in said
    result = place.run("batch", "cancel", "november", "--company", "acme")
    assert result.stdout == "cancelled 1 email of november\nnot cancelled: 1 sent\n"
    assert [place.state("b"), place.state("x")] == ["cancelled", "waiting"]
    assert place.json("batch", "cancel", "november", "--company", "acme")["cancelled"] == 0


def test_the_ledger_is_checked_pruned_and_upgraded(place: Place) -> None:
    """A problem has code 1; pruning leaves what is not final; workers stop an upgrade."""
    place.accept("a", "b")
    place.attempt("a", ACCEPTED)
    assert "the ledger is sound" in place.run("ledger", "check").stdout
    assert place.run("ledger", "prune").stdout == "pruned 0 jobs\n"
    assert (
        "write a number and a unit"
        in place.run("ledger", "prune", "--older-than", "x", exits=2).stderr
    )
    assert "is of version" in place.run("ledger", "upgrade").stdout
    with closing(sqlite3.connect(place.root / "state" / "ledger.db", isolation_level=None)) as file:
        file.execute("UPDATE alembic_version SET version_num = '0000'")
        assert "are at work" in place.run("ledger", "upgrade", exits=2).stderr
        file.execute("UPDATE alembic_version SET version_num = '0001'")
    place.do(lambda c, _: c.exec_driver_sql("UPDATE delivery SET body = NULL WHERE job_id = 'b'"))
    result = place.run("ledger", "check", "--json", exits=1)
    assert "the ledger has 1 problem" in result.stderr


def test_pruning_tells_a_script_how_many(place: Place) -> None:
    """What has ended is counted in the document, and what waits is left."""
    place.accept("a")
    place.attempt("a", ACCEPTED)
    place.accept("b")
    place.do(lambda c, _: c.exec_driver_sql("UPDATE delivery SET updated_at = 0, event = NULL"))
    assert place.json("ledger", "prune", "--older-than", "1d") == {"pruned": 1}
    assert place.json("ledger", "prune") == {"pruned": 0}
    assert place.state("b") == "waiting"


def test_upgrading_tells_a_script_from_where_to_where(place: Place) -> None:
    """An empty database has no version before; a second time both are the same."""
    (place.root / "new").mkdir()
    place.environ["POSTMETER_STATE"] = str(place.root / "new")
    first, second = (place.json("ledger", "upgrade") for _ in range(2))
    assert first == {"from": None, "to": newest_version()}
    assert second == {"from": first["to"], "to": first["to"]}
