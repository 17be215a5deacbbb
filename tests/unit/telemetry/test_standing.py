"""From lanes, settings and holds to what the gauges say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.settings_tree import SMTP, SettingsTree
from worker.gates import Opening
from worker.ledger.figures import Line
from worker.ledger.holds import Hold, Origin
from worker.ledger.rows import UNREADABLE, Prio
from worker.telemetry.metrics import WaitReason
from worker.telemetry.rules import Rules
from worker.telemetry.standing import count_holds, waiting

if TYPE_CHECKING:
    from pathlib import Path

LIMITED = SMTP + "batch_emails_per_min = 30\n"
MAILBOX = '[email]\naddress = "jane@example.nz"\nmailbox_emails_per_min = 10\n'


@pytest.fixture
def rules(tmp_path: Path) -> Rules:
    """Acme at 30 a minute with a mailbox at 10, free without a limit, and a ceiling of 600."""
    tree = SettingsTree(tmp_path)
    tree.write("system.toml", SMTP + "[limits]\nall_batch_emails_per_min = 600\n")
    tree.company("acme", LIMITED + 'default_user = "jane"\n', MAILBOX)
    tree.company("free")
    return Rules(tree.load())


def line(
    company: str = "acme",
    kind: str = "batch",
    *,
    user: str = "jane",
    jobs: int = 4,
    due: int = 4,
    prio: int = Prio.FIRST,
    first_due_at: float = 100.0,
) -> Line:
    """One lane's figures."""
    return Line(company, user, kind, prio, jobs, due, first_due_at)


def hold(target: str, reason: str) -> Hold:
    """A hold without an end."""
    return Hold(target, reason, 0.0, None, 0.0, 1, None)


def test_limits_in_force(rules: Rules) -> None:
    """Every scope with a limit is known before anything was sent, with the layer it comes from."""
    found = {scope: (limit.limit, limit.layer) for scope, limit in rules.limits.items()}
    assert found == {
        "company:acme": (30, "company"),
        "mailbox:acme/jane": (10, "user"),
        "all": (600, "system"),
    }


def test_scopes_of_an_email(rules: Rules) -> None:
    """A batch email counts for its context, for all, and for its mailbox where that is limited."""
    assert rules.scopes("acme", "jane", "batch") == ["all", "company:acme", "mailbox:acme/jane"]
    assert rules.scopes("acme", "", "batch") == ["all", "company:acme", "mailbox:acme/jane"]
    assert rules.scopes("acme", "jane", "send") == ["mailbox:acme/jane"]
    assert rules.scopes("free", "jane", "send") == []
    assert rules.scopes("_system", "jane", "batch") == ["all", "system"]
    assert rules.scopes("gone", "jane", "batch") == ["all", "company:gone"]


def test_why_jobs_wait(rules: Rules) -> None:
    """Each job falls under one reason, told from its lane, not its words; strange names under one."""
    found = waiting(
        [
            line(jobs=6, due=4),
            line(prio=Prio.RETRY, jobs=3, due=0),
            line("free", "send", jobs=2, due=2),
            line("gone", jobs=1, due=1),
            line("strange", jobs=1, due=1),
            line("_system", UNREADABLE, user="", jobs=1, due=1),
            line("free", user="", jobs=5, due=0)._replace(paused=True),
        ],
        rules,
        [],
    )
    assert found.jobs == {
        ("acme", "batch", WaitReason.LIMIT): 4,
        ("acme", "batch", WaitReason.DATE): 2,
        ("acme", "batch", WaitReason.RETRY): 3,
        ("free", "send", WaitReason.TURN): 2,
        ("free", "batch", WaitReason.PAUSED): 5,
        ("_unknown", "batch", WaitReason.SETTINGS): 2,
        ("_system", UNREADABLE, WaitReason.VERSION): 1,
    }


@pytest.mark.parametrize(
    "target", ["server:smtp.example.nz:25", "account:acme/jane", "scope:company:acme"]
)
def test_held_lanes(target: str, rules: Rules) -> None:
    """A lane whose server, account or scope is held waits for that."""
    found = waiting([line()], rules, [hold(target, "x")])
    assert found.jobs == {("acme", "batch", WaitReason.HELD): 4}


def test_a_pause_is_counted_whatever_its_words(rules: Rules) -> None:
    """A lane under it is paused; so the metric says, not what the person wrote."""
    words = "paused by ann: the password is wrong"
    pause = hold("company:acme", words)._replace(origin=Origin.OPERATOR)
    assert waiting([line()], rules, [pause]).jobs == {("acme", "batch", WaitReason.PAUSED): 4}
    assert count_holds([pause]) == {("company", "paused"): 1}


def test_a_days_cap_that_is_used_up_is_told_from_a_limit(tmp_path: Path) -> None:
    """Its mail waits for the day; while there are slots left it waits for the limit, as ever."""
    tree = SettingsTree(tmp_path)
    tree.write("system.toml", SMTP)
    tree.company("acme", LIMITED + "[limits]\nbatch_emails_per_day = 50\n")
    rules = Rules(tree.load())
    used_up = Opening(rules.limits["company:acme:day"], wait_seconds=3600.0)
    assert waiting([line()], rules, [], [used_up]).jobs == {("acme", "batch", WaitReason.DAY): 4}
    assert waiting([line()], rules, []).jobs == {("acme", "batch", WaitReason.LIMIT): 4}


def test_a_mailbox_out_of_recipients_waits_for_the_day(tmp_path: Path) -> None:
    """That hold ends by itself; a person's pause beside it tells more, a server's refusal most."""
    tree = SettingsTree(tmp_path)
    tree.company("acme", LIMITED, MAILBOX + "mailbox_recipients_per_day = 100\n")
    rules = Rules(tree.load())
    full = hold("scope:mailbox:acme/jane:recipients", "reached its 100 recipients of a day")
    pause = hold("account:acme/jane", "x")._replace(origin=Origin.OPERATOR)
    refused = hold("server:smtp.example.nz:25", "x")
    for holds, reason in (
        ([full], WaitReason.DAY),
        ([full, pause], WaitReason.PAUSED),
        ([full, refused, pause], WaitReason.HELD),
    ):
        assert waiting([line()], rules, holds).jobs == {("acme", "batch", reason): 4}


def test_drain_is_that_of_the_slowest_limit(rules: Rules) -> None:
    """40 jobs through a mailbox at 10 a minute take 4 minutes, whatever the company may do."""
    found = waiting([line(jobs=40, due=40), line("free", jobs=20, due=20)], rules, [])
    assert found.drain_seconds == {
        "acme": pytest.approx(240.0),
        "free": pytest.approx(2.0, rel=0.02),
    }


def test_companies_under_a_ceiling_wait_for_each_other(rules: Rules) -> None:
    """Two without limits of their own have half the ceiling each, until one is empty."""
    both = [line("free", jobs=600, due=600), line("_system", jobs=60, due=60)]
    found = waiting(both, rules, [])
    assert found.drain_seconds == {
        "free": pytest.approx(66.0, rel=0.01),
        "_system": pytest.approx(12.0, rel=0.01),
    }


def test_a_drain_begins_when_the_limit_lets_the_next_one_go(rules: Rules) -> None:
    """How a limit stands now counts, not only its number."""
    opening = Opening(rules.limits["mailbox:acme/jane"], wait_seconds=30.0)
    found = waiting([line(jobs=10, due=10)], rules, [], [opening])
    assert found.drain_seconds == {"acme": pytest.approx(90.0)}


def test_what_nobody_can_tell_is_not_told(rules: Rules) -> None:
    """A hold without an end: no time. A pause with one: from then on."""
    held = hold("account:acme/jane", "x")
    assert waiting([line()], rules, [held]).drain_seconds == {}
    pause = held._replace(until_at=1_060.0)
    found = waiting([line(jobs=10, due=10)], rules, [pause], now_wall=1_000.0)
    assert found.drain_seconds == {"acme": pytest.approx(120.0)}


def test_oldest_is_what_has_been_due_the_longest(rules: Rules) -> None:
    """Jobs with a date in the future are not old, and nothing is where nothing is due."""
    paused = line(first_due_at=3.0)._replace(paused=True)
    assert waiting([paused], rules, []).oldest == {}
    both = waiting([line(first_due_at=70.0), line(first_due_at=60.0, prio=Prio.RETRY)], rules, [])
    assert both.oldest == {("acme", "batch", WaitReason.LIMIT): 60.0}
    later = line(due=0, first_due_at=5.0)
    assert waiting([later], rules, []).oldest_due_at is None
    assert waiting([later, line(first_due_at=70.0)], rules, []).oldest_due_at == 70.0


@pytest.mark.parametrize(
    ("target", "reason", "word"),
    [
        (
            "server:mx:25",
            "mx:25: the connection was refused: nothing listens on that port",
            "unreachable",
        ),
        (
            "server:tls.example.nz:25",
            "tls.example.nz:25: the name cannot be found (x)",
            "unreachable",
        ),
        ("server:mx:25", "mx:25: the server's certificate is not trusted (x)", "tls"),
        ("server:mx:25", 'mx:25: TLS failed (x): transport_security is "tls"', "tls"),
        ("server:mx:25", "mx:25: the server offers no STARTTLS: set tls_mode = x", "tls"),
        ("server:mx:25", "mx:25: the server closed the connection while starting TLS: x", "tls"),
        (
            "server:mx:25",
            'mx:25: no answer within 9 ms while waiting for its greeting: x tls_mode = "implicit"',
            "unreachable",
        ),
        ("server:mx:25", "mx:25: the server is busy (421 4.3.2 to mail)", "busy"),
        (
            "account:a/b",
            "mx:25: the mailbox has sent more this minute than the server allows (432)",
            "throttled",
        ),
        ("account:a/b", 'a/b: authorisation = "required" needs a password', "credential"),
        ("credential:a/b#1", "mx:25: the server takes no more logins for now (454)", "credential"),
        ("server:mx:25", "something new", "other"),
    ],
)
def test_reasons_of_holds_are_few(target: str, reason: str, word: str) -> None:
    """However a reason is worded, its label is one of a few words; the server's name has no say."""
    assert count_holds([hold(target, reason)]) == {(target.partition(":")[0], word): 1}


def test_due_jobs_are_counted_under_the_limit_that_binds(rules: Rules) -> None:
    """The mailbox is the tightest; where the ceiling makes it wait longer, the ceiling it is."""
    lines = [line(jobs=9, due=6), line("free", jobs=2, due=2)]
    assert waiting(lines, rules, []).under == {
        ("mailbox:acme/jane", "user"): 6,
        ("all", "system"): 2,
    }
    ceiling = Opening(rules.limits["all"], wait_seconds=9.0)
    mailbox = Opening(rules.limits["mailbox:acme/jane"], wait_seconds=4.0)
    assert waiting(lines, rules, [], [ceiling, mailbox]).under == {("all", "system"): 8}


def test_what_is_held_is_under_no_limit(rules: Rules) -> None:
    """The hold keeps it, whatever its limits say."""
    assert waiting([line()], rules, [hold("account:acme/jane", "x")]).under == {}
