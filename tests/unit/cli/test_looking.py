"""``status``, ``lanes``, ``batch status``: where it is in line, when it leaves, by which limit."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from producers.inbox import Inbox
from tests.support.ledger import ACCEPTED, deferred
from tests.support.settings_tree import JANE
from worker.cli import limits
from worker.ledger import holds, lanes, recipients
from worker.ledger.lanes import Lane
from worker.ledger.pauses import pause
from worker.ledger.rows import UNREADABLE, Settlement, State
from worker.outcome import Outcome, RecipientReply, RecipientState, Reply
from worker.pace import Budget, Limit

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Place

JANE_LIMITED = '[email]\naddress = "jane@example.nz"\nmailbox_emails_per_min = 10\n'
ENVELOPE = json.dumps(
    {"kwargs": {"job": {"to": ["Kim <kim@example.org>"], "cc": ["lee@example.org"]}}}
).encode()


def in_seconds(told: dict[str, Any], moment: str) -> float:
    """How long after a status was taken something is."""
    return (
        datetime.fromisoformat(moment) - datetime.fromisoformat(told["updated_at"])
    ).total_seconds()


def fill(place: Place, jobs: int, company: str = "acme", **changes: Any) -> None:
    """Put a batch of waiting jobs into the ledger, ``<company>-0`` and so on."""
    for index in range(jobs):
        place.accept(
            f"{company}-{index}", company=company, batch_id="november", batch_index=index, **changes
        )


def test_a_waiting_email_knows_its_place_its_time_and_its_limit(place: Place) -> None:
    """Ten before it at 30 a minute: twenty seconds."""
    place.start_worker()
    fill(place, 11)
    told = place.json("status", "acme-10")
    forecast = told["forecast"]
    assert (forecast["ahead"], forecast["limit_scope"]) == (10, "company:acme")
    assert forecast["cause"] == "limit"
    assert [forecast[f"limit_{name}"] for name in ("per_minute", "per_day", "layer")] == [
        *(30, None, "company"),
    ]
    assert forecast["limit_file"] == "companies/acme/company.toml"
    assert forecast["limit_key"] == "smtp.batch_emails_per_min"
    assert in_seconds(told, forecast["leaves_at"]) == pytest.approx(20, abs=3)
    shown = place.run("status", "acme-10").stdout
    assert "10 emails before it" in shown
    assert "company:acme allows 30 a minute (companies/acme/company.toml [smtp]" in shown


def test_the_tightest_limit_decides(place: Place) -> None:
    """A mailbox of 10 a minute binds before the company's 30."""
    place.tree.write("companies/acme/users/jane.toml", JANE_LIMITED)
    place.start_worker()
    fill(place, 4)
    forecast = place.json("status", "acme-3")["forecast"]
    assert (forecast["limit_scope"], forecast["limit_per_minute"]) == ("mailbox:acme/jane", 10)


def test_lanes_under_one_limit_take_turns(place: Place) -> None:
    """With two of its own lane go two of another, or three, not all of it."""
    place.tree.write("companies/acme/users/bob.toml", JANE)
    place.start_worker()
    fill(place, 3)
    for index in range(9):
        place.accept(f"b{index}", user="bob", batch_id="b", batch_index=index)
    assert place.json("status", "acme-2")["forecast"]["ahead"] in {2 + 2, 2 + 3}
    place.tree.write("companies/acme/users/bob.toml", JANE_LIMITED)
    assert place.json("status", "acme-2")["forecast"]["ahead"] == 2 + 1


def test_single_sends_go_before_a_batch_and_never_wait_for_it(place: Place) -> None:
    """Under a mailbox limit both share, the single send has nothing before it."""
    place.tree.write("companies/acme/users/jane.toml", JANE_LIMITED)
    place.start_worker()
    fill(place, 5)
    place.accept("s1", "s2", kind="send")
    assert place.json("status", "s1")["forecast"]["ahead"] == 0
    assert place.json("status", "acme-0")["forecast"]["ahead"] == 2
    lanes = {each["kind"]: each for each in place.json("lanes")["lanes"]}
    assert lanes["send"]["drain_seconds"] == 12.0
    assert lanes["batch"]["drain_seconds"] == 42.0


def test_what_blocks_is_said_instead_of_a_time(place: Place) -> None:
    """No worker, a hold, an unknown company: each in a sentence, and no time is promised."""
    fill(place, 1)

    def blocked(job_id: str = "acme-0") -> str:
        forecast = place.json("status", job_id)["forecast"]
        assert forecast["leaves_at"] is None
        return str(forecast["blocked"])

    assert "no worker is running" in blocked()
    place.start_worker()
    place.do(lambda c, now: holds.put_hold(c, now, "server:smtp.example.nz:25", "refused"))
    assert blocked() == "held: server:smtp.example.nz:25: refused"
    fill(place, 1, "beta")
    assert blocked("beta-0") == 'there is no company "beta" in the settings'
    del place.environ["POSTMETER_SETTINGS"]
    assert "there are no settings on this machine" in blocked()


def test_an_email_with_a_date_does_not_leave_before_it(place: Place) -> None:
    """A back-off of five minutes is told, though nothing is before it."""
    place.start_worker()
    place.accept("a")
    at = place.do(lambda _, now: now.wall) + 300
    place.attempt("a", deferred(at))
    told = place.json("status", "a")
    assert in_seconds(told, told["forecast"]["leaves_at"]) == pytest.approx(300, abs=3)
    assert "not before" in place.run("status", "a").stdout


def test_recipients_and_replies_are_masked_unless_asked_for(place: Place) -> None:
    """Whom it goes to stands in the envelope, what the server said in the row."""
    place.start_worker()
    place.accept("a", body=ENVELOPE)
    refused = RecipientReply(
        "lee@example.org", RecipientState.REFUSED, Reply(550, "no lee@example.org here", "5.1.1")
    )
    place.attempt("a", Settlement(State.DEAD, Outcome.DEAD, recipients=(refused,), reply="550 no"))
    masked = {each["address"]: each for each in place.json("status", "a")["recipients"]}
    assert masked["l…e@example.org"]["reply"] == "550 5.1.1 no l…e@example.org here"
    assert masked["k…m@example.org"]["state"] == ""
    whole = place.json("status", "a", "--addresses")
    assert [each["address"] for each in whole["recipients"]] == [
        "lee@example.org",
        "kim@example.org",
    ]
    assert whole["attempts"][0]["reply"] == "550 no"
    shown = place.run("status", "a").stdout
    assert "lee@" not in shown
    assert "kim@" not in shown


def test_an_unknown_job_says_why_it_may_be_missing(place: Place) -> None:
    """Not taken in yet, or pruned."""
    place.start_worker()
    assert "has no job nope" in place.run("status", "nope", exits=1).stderr


def test_the_overview_counts_by_company(place: Place) -> None:
    """Waiting, in hand, the last minute against the limit, dead and unknown."""
    place.start_worker()
    place.accept("a")
    place.attempt("a", ACCEPTED)
    place.accept("b")
    place.attempt("b", None)
    place.accept("d", state=State.DEAD)
    fill(place, 30)
    told = place.json("status")
    acme = next(each for each in told["companies"] if each["company"] == "acme")
    assert acme == {
        "company": "acme",
        "waiting": 30,
        "due": 30,
        "in_hand": 1,
        "accepted_last_minute": {"batch": 1, "send": 0},
        "batch_limit_per_minute": 30,
        "drain_seconds": 60.0,
        "dead": 1,
        "unknown": 0,
    }
    assert told["workers"][0]["alive"] is True
    shown = place.run("status").stdout
    assert "1 of 30" in shown
    assert "workers: 1 alive on mail1" in shown


def test_the_overview_tells_what_is_not_taken_in_and_what_nobody_reads(place: Place) -> None:
    """Published jobs and messages held for a newer worker are not forgotten."""
    place.start_worker()
    place.accept("raw", kind=UNREADABLE, company="_system", user="")
    inbox = Inbox(place.root / "state" / "inbox.db")
    inbox.put("postmeter.batch", [b"x", b"y"])
    inbox.close()
    shown = place.run("status").stdout
    assert "not taken in yet: 2 in postmeter.batch" in shown
    assert "held for a newer worker that can read them: 1" in shown


def test_the_overview_works_while_the_broker_is_away(place: Place) -> None:
    """The ledger's answer does not depend on RabbitMQ; no password is told."""
    place.start_worker()
    place.environ["POSTMETER_BROKER_URL"] = "amqp://user:hush@127.0.0.1:9/%2F"
    result = place.run("status")
    assert "way in: RabbitMQ at 127.0.0.1:9 cannot be reached" in result.stdout
    assert "hush" not in result.output


def test_lanes_say_what_they_wait_for(place: Place) -> None:
    """A limit, a date, or what blocks."""
    place.start_worker()
    assert place.run("lanes").stdout == "nothing waits\n"
    fill(place, 2)
    fill(place, 1, "beta")
    place.accept("later", kind="send", due_at=4e9)
    shown = place.run("lanes").stdout
    assert "company:acme allows 30 a minute" in shown
    assert 'there is no company "beta" in the settings' in shown
    assert "its time, 2096-" in shown
    assert [each["company"] for each in place.json("lanes", "--company", "beta")["lanes"]] == [
        "beta"
    ]


def test_a_batch_tells_how_far_it_is_and_when_it_will_be_done(place: Place) -> None:
    """Counts by state, the last minute, and when the last email leaves."""
    place.start_worker()
    fill(place, 31)
    place.attempt("acme-0", ACCEPTED)
    told = place.json("batch", "status", "november")
    assert told["total"] == 31
    assert (told["jobs"]["waiting"], told["jobs"]["sent"]) == (30, 1)
    assert (told["accepted_last_minute"], told["limit_per_minute"]) == (1, 30)
    assert told["last_email"]["ahead"] == 29
    shown = place.run("batch", "status", "november").stdout
    assert "31: 30 waiting, 1 sent" in shown
    assert "1 accepted (the limit is 30)" in shown
    assert "has no batch december" in place.run("batch", "status", "december", exits=1).stderr


def test_limits_stand_beside_what_they_let_through(place: Place) -> None:
    """Each with its layer, the last minute, the worst one, the share used, and when it is empty."""
    place.tree.write(
        "companies/acme/users/jane.toml", JANE_LIMITED + "mailbox_emails_per_day = 50\n"
    )
    place.start_worker()
    place.accept("sent")
    place.attempt("sent", ACCEPTED)
    fill(place, 20)
    for command in ("status", "lanes"):
        limits = {each["scope"]: each for each in place.json(command)["limits"]}
        assert list(limits) == ["company:acme", "mailbox:acme/jane", "mailbox:acme/jane:day"]
        mailbox = limits["mailbox:acme/jane"]
        assert (mailbox["limit"], mailbox["per"], mailbox["layer"]) == (10, "minute", "user")
        assert (mailbox["used"], mailbox["worst_last_hour"], mailbox["used_ratio"]) == (1, 1, 0.1)
        assert mailbox["waiting"] == 20
        assert mailbox["drains_at"] is not None
        assert limits["mailbox:acme/jane:day"]["worst_last_hour"] is None
        shown = place.run(command).stdout
        assert "mailbox:acme/jane:day" in shown
        assert max(len(line) for line in shown.splitlines() if "DRAINS AT" in line) <= 80
    assert place.json("lanes", "--company", "beta")["limits"] == []


def test_a_used_up_day_is_what_a_lane_waits_for(place: Place) -> None:
    """The limit that binds is named, though another is tighter in the long run."""
    place.tree.write(
        "companies/acme/users/jane.toml",
        '[email]\naddress = "jane@example.nz"\nmailbox_emails_per_day = 100000\n',
    )
    place.start_worker()
    fill(place, 2)
    assert place.json("lanes")["lanes"][0]["binding"] == "company:acme"
    day = Limit("mailbox:acme/jane:day", 1, 86_400.0, even=False, per="day")
    place.do(
        lambda c, now: lanes.take(
            c, now, Lane("acme", "jane", "batch"), [day], worker="w1", token="t", ahead_seconds=0.0
        )
    )
    place.tree.write(
        "companies/acme/users/jane.toml",
        '[email]\naddress = "jane@example.nz"\nmailbox_emails_per_day = 1\n',
    )
    assert place.json("lanes")["lanes"][0]["binding"] == "mailbox:acme/jane:day"
    assert "mailbox:acme/jane:day allows 1 a day" in place.run("lanes").stdout


def test_the_last_minute_is_right_after_a_long_hour(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much left before: where not all can be looked at, the newest are."""
    monkeypatch.setattr(limits, "LOOK_BACK_EMAILS", 2)
    place.start_worker()
    for n in range(5):
        place.accept(f"sent-{n}")
        place.attempt(f"sent-{n}", ACCEPTED)
    place.do(
        lambda c, _: (
            c.execute(
                text(
                    "UPDATE attempt SET accepted_steady = accepted_steady - 900 WHERE job_id < 'sent-3'"
                )
            ).rowcount
        )
    )
    (company,) = place.json("lanes")["limits"]
    assert (company["scope"], company["used"]) == ("company:acme", 2)


def test_a_pause_with_an_end_is_waited_for(place: Place) -> None:
    """What is paused for ten minutes leaves in its turn after them; who paused it is told."""
    place.start_worker()
    fill(place, 11)
    until = place.do(lambda _, now: now.wall) + 600
    place.do(lambda c, now: pause(c, now, "company:acme", held_by="ann", until_at=until))
    told = place.json("status", "acme-10")
    assert told["forecast"]["blocked"] == "held: company:acme: paused by ann"
    assert in_seconds(told, told["forecast"]["leaves_at"]) == pytest.approx(620, abs=5)
    first = place.json("status", "acme-0")["forecast"]
    assert first["cause"] == "pause"
    place.do(lambda c, now: pause(c, now, "company:acme", held_by="ann"))
    assert place.json("status", "acme-0")["forecast"]["leaves_at"] is None


def test_recipients_of_a_day_stand_beside_the_limits(place: Place) -> None:
    """Of a mailbox that has written to somebody: how many, of how many; not of another company's."""
    place.tree.write(
        "companies/acme/users/jane.toml",
        '[email]\naddress = "jane@example.nz"\nmailbox_recipients_per_day = 100\n',
    )
    place.start_worker()
    fill(place, 2)
    scope = "mailbox:acme/jane:recipients"
    place.do(lambda c, now: recipients.spend(c, now, Budget(scope, 100, 25)))
    place.do(lambda c, now: recipients.spend(c, now, Budget("mailbox:gone/x:recipients", 9, 9)))
    limits = {each["scope"]: each for each in place.json("status")["limits"]}
    assert list(limits) == ["company:acme", scope]
    told = limits[scope]
    assert (told["limit"], told["per"], told["used"], told["used_ratio"]) == (100, "day", 25, 0.25)
    assert (told["waiting"], told["layer"]) == (2, "user")
    assert told["key"] == "email.mailbox_recipients_per_day"
    assert scope in place.run("status").stdout


def test_recipients_of_a_day_count_the_kinds_that_go_that_way(place: Place) -> None:
    """Only batches go by Graph, which limits them: the limit is shown, and only they wait for it."""
    by_graph = (
        '[mail_options]\nsend_batch = "microsoft-365"\n[web]\nallow_microsoft_365 = true\n'
        '[microsoft_365]\ntenant_id = "t"\nclient_id = "c"\nclient_secret = "s"\n'
    )
    company = place.tree.root / "companies/acme/company.toml"
    place.tree.write("companies/acme/company.toml", company.read_text() + by_graph)
    place.start_worker()
    fill(place, 2)
    place.accept("single", kind="send")
    place.accept("draft", kind="compose")
    scope = "mailbox:acme/jane:recipients"
    place.do(lambda c, now: recipients.spend(c, now, Budget(scope, 10_000, 25)))
    told = {each["scope"]: each for each in place.json("status")["limits"]}[scope]
    assert (told["limit"], told["layer"], told["used"]) == (10_000, "microsoft-365", 25)
    assert told["waiting"] == 2
