"""The table of replies: every row catches its example, and the rest falls back as RFC 5321 says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.outcome import Reply, TargetKind
from worker.replies import MAX_TEXT_LENGTH, Rule, Stage, Verdict, classify, parse_reply, rules


def _stages(rule: Rule) -> list[Stage]:
    return sorted(rule.stages) or [Stage.RCPT, Stage.CONTENT]


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.classification.rule)
def test_each_row_catches_its_example(rule: Rule) -> None:
    """No row is hidden by one above it, and each example is what the row says it is."""
    code, _, text = rule.example.partition(" ")
    reply = parse_reply(int(code), [text])
    assert any(classify(reply, stage) == rule.classification for stage in _stages(rule))


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
        ("421 4.4.2 timeout", Stage.CONTENT, Verdict.HOLD, TargetKind.SERVER),
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
