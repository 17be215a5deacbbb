"""The table of replies: every row catches its example, and the rest falls back as RFC 5321 says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.outcome import Reply, TargetKind
from worker.replies import (
    MAX_TEXT_LENGTH,
    Rule,
    Stage,
    Verdict,
    classify,
    parse_reply,
    rules,
    wish_of,
)

SERVER, ACCOUNT, CREDENTIAL = TargetKind.SERVER, TargetKind.ACCOUNT, TargetKind.CREDENTIAL
HELD_BY = {
    "exchange-basic-disabled": CREDENTIAL,
    "exchange-basic-retired": CREDENTIAL,
    "login-not-now": ACCOUNT,
    "login-mechanism": ACCOUNT,
    "login-needs-tls": SERVER,
    "login-password-expired": CREDENTIAL,
    "login-too-many": ACCOUNT,
    "exchange-mailbox-logon": ACCOUNT,
    "not-logged-in": ACCOUNT,
    "starttls-first": SERVER,
    "login-wanted": ACCOUNT,
    "exchange-connections": ACCOUNT,
    "exchange-mailbox-busy": ACCOUNT,
    "exchange-rate": ACCOUNT,
    "exchange-server-busy": SERVER,
    "temporary-server-error": SERVER,
    "too-many-connections": SERVER,
    "address-rate": SERVER,
    "rate-limited-at-greeting": SERVER,
    "rate-limited": ACCOUNT,
    "rate-limited-at-rcpt": ACCOUNT,
    "session-timeout": ACCOUNT,
    "service-closing": SERVER,
    "service-closing-text": SERVER,
    "turned-away": SERVER,
    "policy-on-the-host": SERVER,
    "policy-on-the-account": ACCOUNT,
    "session-ended": ACCOUNT,
    "server-storage": SERVER,
    "exchange-daily-quota": ACCOUNT,
    "exchange-sent-items-full": ACCOUNT,
    "exchange-licence": ACCOUNT,
    "exchange-external-quota": ACCOUNT,
    "exchange-recipients-of-the-day": ACCOUNT,
    "exchange-organisation-blocked": ACCOUNT,
    "daily-limit": ACCOUNT,
    "exchange-bad-sender": ACCOUNT,
}
"""Each row that holds, and what. Written twice on purpose: a target is changed by decision only."""


def _stages(rule: Rule) -> list[Stage]:
    return sorted(rule.stages) or [Stage.RCPT, Stage.CONTENT]


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.classification.rule)
def test_each_row_catches_its_example(rule: Rule) -> None:
    """No row is hidden by one above it, and each example is what the row says it is."""
    code, _, text = rule.example.partition(" ")
    reply = parse_reply(int(code), [text])
    assert any(classify(reply, stage) == rule.classification for stage in _stages(rule))


def test_each_hold_has_the_target_that_was_decided() -> None:
    """A reply that one mailbox gets never stops the server for all others by a slip of the table."""
    assert {
        rule.classification.rule: rule.classification.target
        for rule in rules()
        if rule.classification.verdict is Verdict.HOLD
    } == HELD_BY


@pytest.mark.parametrize(
    ("text", "stage", "target"),
    [
        ("421 4.3.2 Service not available", Stage.MAIL, SERVER),
        ("421 Service not available, closing transmission channel", Stage.MAIL, SERVER),
        ("421 4.7.0 Try again later, closing connection.", Stage.MAIL, SERVER),
        ("421 4.4.2 too slow: idle for 300 s", Stage.MAIL, ACCOUNT),
        ("421 4.7.0 Not for you now", Stage.MAIL, ACCOUNT),
        ("421 Goodbye", Stage.MAIL, ACCOUNT),
        ("421 Goodbye", Stage.CONTENT, ACCOUNT),
        ("421 Goodbye", Stage.AUTH, ACCOUNT),
        ("421 Goodbye", Stage.CONNECT, SERVER),
        ("421 Goodbye", Stage.EHLO, SERVER),
        ("451 4.7.1 Try later", Stage.MAIL, ACCOUNT),
        ("451 4.7.1 Your IP address has a poor reputation", Stage.MAIL, SERVER),
        ("451 4.7.1 Try later", Stage.RCPT, None),
        ("451 4.7.1 Try later", Stage.CONTENT, None),
        ("451 4.7.24 SPF could not be looked up", Stage.CONTENT, None),
        ("450 4.2.1 is receiving mail too quickly", Stage.RCPT, None),
        ("452 4.2.2 The email account that you tried to reach is over quota", Stage.RCPT, None),
        ("450 4.7.1 sender rate limit: 30 per minute", Stage.RCPT, ACCOUNT),
        ("451 4.7.651 Server busy from [203.0.113.7]", Stage.RCPT, SERVER),
        ("432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded", Stage.MAIL, ACCOUNT),
        ("432 4.3.2 STOREDRV.Deliver; recipient thread limit exceeded", Stage.CONTENT, None),
        ("535 5.7.3 Authentication unsuccessful", Stage.AUTH, CREDENTIAL),
        ("550 5.7.30 Basic authentication is not supported", Stage.MAIL, CREDENTIAL),
    ],
)
def test_who_is_held_by_what_was_answered_and_when(
    text: str, stage: Stage, target: TargetKind | None
) -> None:
    """One 421 may be the server's or the account's; 4.7.x of one recipient holds nobody."""
    code, _, words = text.partition(" ")
    found = classify(parse_reply(int(code), [words]), stage)
    assert (found.target, found.verdict is Verdict.HOLD) == (target, target is not None)


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ("Please try again in 5 minutes", 300.0),
        ("Too fast, retry after 30 seconds", 30.0),
        ("Retry-After: 120", 120.0),
        ("Greylisted for 300 seconds", 300.0),
        ("Greylisting in action, please come back in 00:04:32", 272.0),
        ("please wait 1.5 min.", 90.0),
        ("try again after at least 2 h", 7200.0),
        ("try again in -5 seconds", -5.0),
        ("try again in 1 year", 31_536_000.0),
        ("Please try again later from [203.0.113.7]", None),
        ("try again, 3 mails are too many", None),
        ("retry 4.7.1", None),
        ("await 5 minutes", None),
        ("wait 500 ms", None),
        ("", None),
    ],
)
def test_a_time_is_read_from_the_servers_words(words: str, seconds: float | None) -> None:
    """A number counts with its unit, and where the words before it ask for a wait."""
    assert wish_of(words) == seconds


@pytest.mark.parametrize(
    ("asks", "seconds", "note"),
    [
        ("in 90 seconds", 90.0, ""),
        ("in 0 seconds", 1.0, "; it asks for 0 s, and gets 1 s"),
        ("in -10 minutes", 1.0, "; it asks for -600 s, and gets 1 s"),
        ("in nan seconds", 1.0, "; it asks for nan s, and gets 1 s"),
        ("in 365 days", 3600.0, "; it asks for 31536000 s, and gets 3600 s"),
    ],
)
def test_a_wish_takes_the_place_of_the_rows_own(asks: str, seconds: float, note: str) -> None:
    """Between 1 s and 1 h, and the reason says what was asked for where that is not granted."""
    found = classify(Reply(451, f"rate limit, try again {asks}", "4.7.1"), Stage.MAIL)
    reason = "the server limits how fast this account may send"
    assert (found.retry_after_seconds, found.reason) == (seconds, reason + note)
    assert found.target is ACCOUNT


def test_what_is_dead_asks_for_nothing() -> None:
    """5yz with a time in its words stays what the table says."""
    found = classify(Reply(550, "no such user, try again in 5 minutes", "5.1.1"), Stage.RCPT)
    assert (found.verdict, found.retry_after_seconds) == (Verdict.DEAD, None)


@given(st.text())
def test_any_words_can_be_looked_through(text: str) -> None:
    """A server may say anything; there is a number, or there is none."""
    found = wish_of(text)
    assert found is None or isinstance(found, float)


def test_rows_are_named_once_and_end_as_sentences_do_not() -> None:
    """Names are unique, reasons are fragments that a sentence can hold."""
    names = [rule.classification.rule for rule in rules()]
    assert len(names) == len(set(names))
    assert not [r for r in rules() if r.classification.reason.endswith(".")]


@pytest.mark.parametrize(
    ("text", "stage", "verdict", "target"),
    [
        ("450 4.2.1 busy", Stage.RCPT, Verdict.DEFERRED, None),
        ("550 5.7.1 no", Stage.CONTENT, Verdict.DEAD, None),
        ("554 no service", Stage.CONNECT, Verdict.HOLD, TargetKind.SERVER),
        ("501 5.5.4 bad name", Stage.EHLO, Verdict.HOLD, TargetKind.SERVER),
        ("454 4.7.0 TLS not available", Stage.STARTTLS, Verdict.HOLD, TargetKind.SERVER),
        ("535 5.7.8 wrong", Stage.AUTH, Verdict.HOLD, TargetKind.CREDENTIAL),
        ("535 5.7.3 Authentication unsuccessful", Stage.AUTH, Verdict.HOLD, TargetKind.CREDENTIAL),
        ("450 4.3.0 wait", Stage.AUTH, Verdict.HOLD, TargetKind.ACCOUNT),
        ("454 4.3.0 wait", Stage.MAIL, Verdict.DEFERRED, None),
        ("354 go on", Stage.CONTENT, Verdict.DEFERRED, None),
    ],
)
def test_without_a_row_code_and_stage_decide(
    text: str, stage: Stage, verdict: Verdict, target: TargetKind | None
) -> None:
    """4yz is deferred, 5yz dead; before the mail the server, at AUTH the login is to blame."""
    code, _, words = text.partition(" ")
    found = classify(parse_reply(int(code), [words]), stage)
    assert (found.verdict, found.target) == (verdict, target)


def test_enhanced_code_is_taken_from_every_line() -> None:
    """The code of RFC 2034 stands on each line and comes once in the reply."""
    reply = parse_reply(550, ["5.1.1 no such user", "5.1.1 ask the postmaster", "plain"])
    assert reply == Reply(550, "no such user ask the postmaster plain", "5.1.1")


@pytest.mark.parametrize("text", ["4.2.2 for 550", "5.1 short", "51.1.1 x", "5.1.1x"])
def test_what_is_no_enhanced_code_stays_text(text: str) -> None:
    """A code of another class, or something like a code, is part of the words."""
    assert parse_reply(550, [text]) == Reply(550, text, None)


@given(st.lists(st.text(), max_size=5))
def test_text_is_safe_to_store(lines: list[str]) -> None:
    """No control character and no NUL survives, and the length is bounded."""
    text = parse_reply(250, lines).text
    assert len(text) <= MAX_TEXT_LENGTH
    assert not [c for c in text if ord(c) < 32 or 127 <= ord(c) < 160]
    text.encode("utf-8")
