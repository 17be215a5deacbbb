"""``pause``, ``resume``, ``reschedule``, ``batch pause|resume``: done, told, or refused in a sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.ledger import ACCEPTED
from worker.ledger import holds
from worker.ledger.rows import UNREADABLE, State

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Place

SERVER = "server:smtp.example.nz:25"


@pytest.fixture(autouse=True)
def _worker(place: Place) -> None:
    """A worker is there."""
    place.start_worker()


@pytest.mark.parametrize(
    ("words", "target"),
    [
        (["all"], "all"),
        (["all", "--kind", "batch"], "all:batch"),
        (["system"], "system"),
        (["company:acme"], "company:acme"),
        (["company:acme", "--kind", "batch"], "company:acme:batch"),
        (["company:acme:batch"], "company:acme:batch"),
        (["company:acme:batch", "--kind", "batch"], "company:acme:batch"),
        (["mailbox:acme/jane"], "account:acme/jane"),
        (["account:acme/jane", "--kind", "send"], "account:acme/jane:send"),
        (["server:SMTP.example.nz:25"], SERVER),
    ],
)
def test_a_target_is_paused_as_people_write_it(place: Place, words: list[str], target: str) -> None:
    """The ledger has one name for it, which ``holds`` shows and ``resume`` takes."""
    made = place.json("pause", *words, "--by", "ann", "--reason", "it moves", "--for", "30m")
    assert (made["target"], made["by"]) == (target, "ann")
    (shown,) = place.json("holds")["holds"]
    assert (shown["target"], shown["origin"], shown["by"]) == (target, "operator", "ann")
    assert (shown["reason"], shown["until"]) == ("paused by ann: it moves", made["until"])
    assert place.run("resume", target).stdout == f"resumed {target}\n"
    assert place.run("holds").stdout == "nothing is held\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["compnay:acme"], "'compnay:acme' is no target: write all, system, company:ID"),
        (["acme"], "'acme' is no target"),
        (["company:"], "is no target"),
        (["all:everything"], "is no target"),
        (["company:acne"], "there is no company:acne; did you mean company:acme?"),
        (["company:zzz"], "there is no company:zzz; there is company:acme"),
        (["mailbox:acme/jnae"], "did you mean mailbox:acme/jane?"),
        (["server:smtp.example.nz"], "is no target"),
        (["server:smtp.example.nz:26"], f"did you mean {SERVER}?"),
        (["server:mx:25", "--kind", "batch"], "--kind goes with all, system, company:"),
        (["company:acme:batch", "--kind", "send"], "says batch, and --kind says send"),
        (["scope:company:acme"], "write company:ID --kind batch"),
        (["batch:acme/november"], "postmeter batch pause|resume november --company acme"),
        (["all", "--for", "0m"], 'write "1s" to "30d"'),
        (["all", "--for", "soon"], "write a number and a unit"),
    ],
)
def test_a_slip_is_refused_with_what_there_is(place: Place, words: list[str], said: str) -> None:
    """A pause of a name that stands for nothing would let all mail go on."""
    assert said in place.run("pause", *words, exits=2).stderr
    assert place.json("holds")["holds"] == []


def test_what_is_held_may_be_paused_whatever_the_settings_say(place: Place) -> None:
    """The server of yesterday is still tried by what waits for it."""
    place.do(lambda c, now: holds.put_hold(c, now, "server:old.example.nz:25", "refused"))
    place.run("pause", "server:old.example.nz:25")
    shown = place.json("holds")["holds"]
    assert [hold["origin"] for hold in shown] == ["feedback", "operator"]
    said = place.run("holds", "clear", "server:old.example.nz:25", exits=1)
    assert said.stdout == "cleared server:old.example.nz:25\n"
    assert "is paused by a person: postmeter resume server:old" in said.stderr
    assert [hold["origin"] for hold in place.json("holds")["holds"]] == ["operator"]


def test_resume_ends_pause_and_feedbacks_hold(place: Place) -> None:
    """What is not held is told, with what is."""
    place.do(lambda c, now: holds.put_hold(c, now, SERVER, "refused"))
    place.run("pause", SERVER)
    place.run("pause", "all")
    result = place.run("resume", SERVER, "company:acme", exits=1)
    assert result.stdout == f"resumed {SERVER}\n"
    assert "nothing holds company:acme; held: all, server:smtp" in result.stderr
    assert [hold["target"] for hold in place.json("holds")["holds"]] == ["all"]


def test_status_says_who_has_paused_what_an_email_waits_for(place: Place) -> None:
    """A single send that comes while its company is paused waits, and says why."""
    place.run("pause", "company:acme", "--by", "ann", "--reason", "it moves")
    place.accept("a", kind="send")
    told = place.json("status", "a")
    assert told["state"] == "waiting"
    assert told["forecast"]["blocked"] == "held: company:acme: paused by ann: it moves"


def test_who_pauses_is_the_systems_user(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind sudo the person, not root."""
    monkeypatch.setenv("SUDO_USER", "kim")
    assert place.json("pause", "all")["by"] == "kim"
    monkeypatch.delenv("SUDO_USER")
    monkeypatch.setenv("LOGNAME", "lee")
    assert place.json("pause", "all")["reason"] == "paused by lee"


def test_a_batch_is_paused_and_resumed(place: Place) -> None:
    """Its emails stand aside and are counted as such; ``batch status`` says who and until when."""
    place.accept("a", "b", "c", batch_id="november", batch_index=0)
    place.attempt("a", ACCEPTED)
    result = place.run("batch", "pause", "november", "--by", "ann", "--reason", "wrong date")
    assert result.stdout == (
        "paused 2 emails of november until it is resumed\nnot paused: 1 sent\n"
    )
    assert place.state("b") == "paused"
    told = place.json("batch", "status", "november")
    assert (told["jobs"]["paused"], told["total"]) == (2, 3)
    assert told["pause"]["reason"] == "paused by ann: wrong date"
    shown = place.run("batch", "status", "november").stdout
    assert "until it is resumed; paused by ann: wrong date" in shown
    assert "batch:acme/november" in place.run("holds").stdout
    assert place.run("batch", "resume", "november").stdout == "resumed 2 emails of november\n"
    assert place.state("b") == "waiting"
    assert "november is not paused" in place.run("batch", "resume", "november", exits=1).stderr


def test_a_paused_batch_is_cancelled(place: Place) -> None:
    """What is paused is cancelled; the pause stays for what still arrives, and says so."""
    place.accept("a", batch_id="november", batch_index=0)
    place.accept("x", batch_id="november", batch_index=0, company="beta")
    said = place.run("batch", "pause", "november", exits=2).stderr
    assert "november is a batch of acme, beta: add --company" in said
    paused = place.json("batch", "pause", "november", "--company", "acme", "--for", "2h")
    assert (paused["paused"], paused["pause"]["until"][-6:]) == (1, "+00:00")
    result = place.run("batch", "cancel", "november", "--company", "acme")
    assert result.stdout == "cancelled 1 email of november\nwhat still arrives of it is paused\n"
    assert [place.state("a"), place.state("x")] == ["cancelled", "waiting"]


def test_cancel_finds_paused_emails(place: Place) -> None:
    """One by its id, out of a batch that stands aside."""
    place.accept("a", batch_id="november", batch_index=0)
    place.run("batch", "pause", "november")
    assert place.run("cancel", "a").stdout == "cancelled: a\n"


def test_waiting_emails_get_another_time(place: Place) -> None:
    """By date or from now on; a paused one stays paused until its batch goes on."""
    place.accept("a", "b")
    place.accept("c", batch_id="november", batch_index=0)
    place.run("batch", "pause", "november")
    place.run("reschedule", "a", "c", "--at", "2126-12-01T08:00+13:00")
    assert place.json("status", "a")["due_at"] == "2126-11-30T19:00:00.000+00:00"
    assert [place.state("a"), place.state("c")] == ["waiting", "paused"]
    assert place.json("reschedule", "b", "--in", "2h") == {"rescheduled": ["b"], "refused": {}}
    place.run("batch", "resume", "november")
    assert place.json("status", "c")["due_at"] == "2126-11-30T19:00:00.000+00:00"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "say when: either --at TIME or --in 2h"),
        (("--at", "2126-01-01", "--in", "2h"), "say when"),
        (("--at", "2020-01-01"), "is over: to let it go at once, write --in 1s"),
        (("--at", "tomorrow"), "is no time"),
    ],
)
def test_a_reschedule_wants_one_time_to_come(
    place: Place, words: tuple[str, ...], said: str
) -> None:
    """Neither none nor two, and none that is over."""
    place.accept("a")
    assert said in place.run("reschedule", "a", *words, exits=2).stderr


def test_what_has_left_or_ended_has_no_other_time(place: Place) -> None:
    """Each is refused with what can be done instead."""
    place.accept("dead", state=State.DEAD)
    place.accept("raw", kind=UNREADABLE)
    place.accept("short", expires_at=4_000_000_000.0, due_at=5_000_000_000.0)
    place.accept("sent")
    place.attempt("sent", ACCEPTED)
    place.accept("data")
    place.attempt("data", None)
    refused = place.json(
        "reschedule",
        *("dead", "raw", "short", "sent", "data", "gone"),
        *("--at", "2126-12-01"),
        exits=1,
    )["refused"]
    assert refused["dead"] == "is dead: `postmeter dead retry` lets it go again"
    assert refused["raw"] == "can't be read by this version, so it has no time of its own"
    assert refused["short"].startswith("expires at 2096-10-02")
    assert refused["sent"] == "is sent already"
    assert refused["data"] == "is being handed to the server right now: too late"
    assert refused["gone"].startswith("is not in the ledger")
