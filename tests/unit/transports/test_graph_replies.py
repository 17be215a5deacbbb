"""Graph's errors: the table's rows, the codes within codes, Retry-After, and whom a hold concerns."""

from __future__ import annotations

import json
from email.utils import formatdate

import pytest

from tests.support.graph_desk import graph_settings
from worker.errors import Held, Rejected
from worker.holding import targets_of
from worker.transports.graph_failures import (
    HEEDED_SECONDS,
    Heeding,
    Missing,
    TooSmall,
    Unsure,
    check,
    target_of,
)
from worker.transports.graph_replies import (
    SUCCESS,
    Answer,
    Operation,
    Rule,
    Target,
    Verdict,
    classify,
    read_answer,
    rules,
)

NOW = 1_800_000_000.0
ERRORS = {
    Verdict.DEAD: Rejected,
    Verdict.HOLD: Held,
    Verdict.RENEW: Held,
    Verdict.MISSING: Missing,
    Verdict.SMALL: TooSmall,
    Verdict.OPEN: Unsure,
}


def answer_of(status: int, code: str = "", inner: str = "", **headers: str) -> Answer:
    """The answer to a request, as Graph writes it."""
    error = {"code": code, "message": "for people", "innerError": {"code": inner}}
    return read_answer(status, headers, json.dumps({"error": error}).encode(), lambda: NOW)


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.meaning.rule)
def test_each_row_catches_its_example(rule: Rule) -> None:
    """The row decides about its example, and the error is what its verdict says."""
    operation = rule.operations[0] if rule.operations else Operation.CREATE
    answer = answer_of(*rule.example)
    assert classify(answer, operation).rule == rule.meaning.rule
    with pytest.raises(ERRORS[rule.meaning.verdict], match=str(rule.example[0])):
        check(answer, operation, graph_settings())


def test_every_target_is_one_that_the_pump_heeds() -> None:
    """A hold on any of them stops the mails that it is about."""
    settings = graph_settings()
    assert {str(target_of(target, settings)) for target in Target} <= set(targets_of(settings))


@pytest.mark.parametrize("operation", list(Operation))
def test_only_the_promised_status_is_success(operation: Operation) -> None:
    """Any other 2xx is open: an HTTP 200 to a send was not accepted."""
    settings = graph_settings()
    for status in (200, 201, 202, 204, 302):
        answer = Answer(status)
        if status in SUCCESS[operation]:
            assert check(answer, operation, settings) is answer
        else:
            with pytest.raises(Unsure):
                check(answer, operation, settings)


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, Rejected), (405, Rejected), (408, Unsure), (500, Unsure), (504, Unsure)],
)
def test_an_unknown_code_is_decided_by_its_status(status: int, error: type[Exception]) -> None:
    """4xx is the mail's own fault, 5xx is open."""
    with pytest.raises(error):
        check(answer_of(status, "SomethingNew"), Operation.SEND, graph_settings())


def test_a_failure_to_send_has_used_the_slot() -> None:
    """What was asked to send has reached the server; the reason has no text of the server's."""
    with pytest.raises(Held) as caught:
        check(answer_of(429, "ApplicationThrottled"), Operation.SEND, graph_settings())
    assert caught.value.mail_sent
    assert caught.value.reason == (
        "graph.example:443: Microsoft 365 wants fewer requests for this mailbox"
        " (429 ApplicationThrottled to send)"
    )
    with pytest.raises(Held) as caught:
        check(answer_of(429, "ApplicationThrottled"), Operation.CREATE, graph_settings())
    assert not caught.value.mail_sent


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [("7", 7.0), (formatdate(NOW + 90, usegmt=True), 90.0), ("soon", 5.0), ("nan", None)],
)
def test_retry_after_is_seconds_or_a_date(asked: str, seconds: float | None) -> None:
    """What is neither leaves the row's own; what is absurd is left to ``retry.granted``."""
    found = classify(
        answer_of(429, "ApplicationThrottled", **{"retry-after": asked}), Operation.CREATE
    )
    if seconds is None:
        assert found.retry_after_seconds != found.retry_after_seconds
    else:
        assert found.retry_after_seconds == seconds


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b'{"error": "no"}', b'{"error": {"code": 7}}']
)
def test_a_body_that_is_no_error_says_nothing(body: bytes) -> None:
    """Proxies and gateways answer with anything."""
    assert read_answer(502, {}, body, lambda: NOW).codes == ()


def test_codes_are_read_from_the_outside_in() -> None:
    """Also under the name innererror, and not without end."""
    deep = {"code": "a", "innererror": {"code": "b", "innerError": {"code": "c"}}}
    assert read_answer(400, {}, json.dumps({"error": deep}).encode(), lambda: NOW).codes == (
        "a",
        "b",
        "c",
    )


class Watch:
    """Seconds that a test moves on."""

    seconds = 100.0

    def __call__(self) -> float:
        """Read it."""
        return self.seconds


def test_a_failure_speaks_for_all_mails_in_hand_for_a_while() -> None:
    """Those whom the hold concerns meet it at once, others and later ones do not."""
    watch, settings = Watch(), graph_settings()
    heeding = Heeding(watch)
    with pytest.raises(Held) as caught:
        check(answer_of(403, "ErrorAccessDenied"), Operation.CREATE, settings)
    heeding.note(caught.value)
    with pytest.raises(Held) as again:
        heeding.heed(settings)
    assert (again.value.reason, again.value.target) == (caught.value.reason, caught.value.target)
    assert again.value.passed_on_seconds == pytest.approx(0.9 * HEEDED_SECONDS)
    assert not again.value.mail_sent
    heeding.heed(graph_settings(user="joe"))
    watch.seconds += HEEDED_SECONDS
    heeding.heed(settings)
