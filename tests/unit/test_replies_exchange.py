"""What Exchange Online answers, as people have met it: each answer has the meaning that was decided."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from worker.outcome import TargetKind
from worker.replies import Stage, Verdict, classify, parse_reply

ACCOUNT, CREDENTIAL, SERVER = TargetKind.ACCOUNT, TargetKind.CREDENTIAL, TargetKind.SERVER
NOBODY = None
HOUR = 3600.0


class Answer(NamedTuple):
    """One answer, where it comes, and what is to be made of it; ``again`` in seconds."""

    text: str
    stages: tuple[Stage, ...]
    verdict: Verdict
    target: TargetKind | None
    again: float | None = None


LATER = (Stage.MAIL, Stage.RCPT, Stage.CONTENT)
ANSWERS = [
    # The login itself: nobody with this credential gets in.
    Answer("535 5.7.3 Authentication unsuccessful", (Stage.AUTH,), Verdict.HOLD, CREDENTIAL),
    *(
        Answer(
            f"535 5.7.139 Authentication unsuccessful, {why}",
            (Stage.AUTH,),
            Verdict.HOLD,
            CREDENTIAL,
        )
        for why in (
            "SmtpClientAuthentication is disabled for the Tenant. Visit https://aka.ms/smtp_auth_disabled",
            "SmtpClientAuthentication is disabled for the Mailbox.",
            "basic authentication is disabled.",
            "user is locked by your organization's security defaults policy.",
            "the request did not meet the criteria to be authenticated successfully.",
        )
    ),
    Answer(
        "550 5.7.30 Basic authentication is not supported for Client Submission.",
        (Stage.AUTH, Stage.MAIL, Stage.CONTENT),
        Verdict.HOLD,
        CREDENTIAL,
    ),
    # Who sends: one mailbox, never the server, or every other mailbox would stop with it.
    Answer(
        "530 5.7.57 SMTP; Client was not authenticated to send anonymous mail during MAIL FROM",
        (Stage.MAIL,),
        Verdict.HOLD,
        ACCOUNT,
    ),
    Answer(
        "430 4.2.0 STOREDRV; mailbox logon failure; failure status code: 0,"
        " Exception MapiExceptionLogonFailed; AuthenticationContext has no rights on this session",
        LATER,
        Verdict.HOLD,
        ACCOUNT,
        300.0,
    ),
    Answer(
        "432 4.3.2 Concurrent connections limit exceeded. Visit https://aka.ms/concurrent_sending",
        (Stage.AUTH, *LATER),
        Verdict.HOLD,
        ACCOUNT,
        20.0,
    ),
    Answer(
        "432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded",
        (Stage.AUTH, *LATER),
        Verdict.HOLD,
        ACCOUNT,
        20.0,
    ),
    Answer(
        "421 4.4.2 Message submission rate for this client has exceeded the configured limit",
        LATER,
        Verdict.HOLD,
        ACCOUNT,
        60.0,
    ),
    Answer(
        "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException; Failed to process"
        " message due to a permanent exception with message Cannot submit message",
        (Stage.CONTENT,),
        Verdict.HOLD,
        ACCOUNT,
        HOUR,
    ),
    Answer(
        "554 5.2.2 mailbox full; STOREDRV.Submission.Exception:QuotaExceededException",
        (Stage.CONTENT,),
        Verdict.HOLD,
        ACCOUNT,
        HOUR,
    ),
    Answer(
        "550 5.2.253 Sender throttled due to continuous invalid license errors",
        LATER,
        Verdict.HOLD,
        ACCOUNT,
        HOUR,
    ),
    Answer(
        "550 5.7.233 - Your message can't be sent because your tenant exceeded its daily limit for"
        " sending email to external recipients (tenant external recipient rate limit)",
        (Stage.RCPT, Stage.CONTENT),
        Verdict.HOLD,
        ACCOUNT,
        HOUR,
    ),
    Answer(
        "550 5.1.8 Access denied, bad outbound sender AS(42004)",
        LATER,
        Verdict.HOLD,
        ACCOUNT,
        HOUR,
    ),
    Answer(
        "550 5.1.90 Your message can't be sent because you've reached your daily limit",
        LATER,
        Verdict.HOLD,
        ACCOUNT,
        HOUR,
    ),
    Answer(
        "550 5.7.705 Access denied, tenant has exceeded threshold. AS831",
        LATER,
        Verdict.HOLD,
        ACCOUNT,
        HOUR,
    ),
    # The server, for everybody.
    Answer(
        "451 4.7.0 Temporary server error. Please try again later. PRX4",
        LATER,
        Verdict.HOLD,
        SERVER,
        30.0,
    ),
    Answer(
        "421 4.3.2 Service not available",
        (Stage.CONNECT, *LATER),
        Verdict.HOLD,
        SERVER,
        30.0,
    ),
    *(
        Answer(
            f"451 4.7.{number} Server busy. Please try again later from [203.0.113.7]. (S77719)",
            LATER,
            Verdict.HOLD,
            SERVER,
            300.0,
        )
        for number in (500, 651, 699)
    ),
    # This mail, later or never.
    Answer(
        "432 4.3.2 STOREDRV.Deliver; recipient thread limit exceeded",
        (Stage.RCPT, Stage.CONTENT),
        Verdict.DEFERRED,
        NOBODY,
        60.0,
    ),
    *(
        Answer(text, LATER, Verdict.DEAD, NOBODY)
        for text in (
            "554 5.2.252 SendAsDenied; robot@example.nz not allowed to send as jane@example.nz",
            "554 5.2.0 STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied",
            "550 5.7.60 SMTP; Client does not have permissions to send as this sender",
            "554 5.7.60 SMTP; Client does not have permissions to send as this sender",
            "550 5.7.515 Access denied, sending domain example.nz does not meet the required level.",
            "552 5.3.4 Message size exceeds fixed maximum message size",
        )
    ),
]


@pytest.mark.parametrize(
    ("answer", "stage"),
    [(answer, stage) for answer in ANSWERS for stage in answer.stages],
    ids=lambda value: value if isinstance(value, Stage) else value.text[:40],
)
def test_each_answer_has_the_meaning_that_was_decided(answer: Answer, stage: Stage) -> None:
    """Permanent codes that pass by themselves hold the mailbox; what is the mail's own holds nobody."""
    code, _, words = answer.text.partition(" ")
    found = classify(parse_reply(int(code), [words]), stage)
    assert (found.verdict, found.target, found.retry_after_seconds) == (
        answer.verdict,
        answer.target,
        answer.again,
    )


def test_a_quota_of_the_day_is_asked_again_every_hour() -> None:
    """Nobody knows when a rolling day has room again, and a server's own day is cut to an hour."""
    words = "5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException"
    for asked in ("", "; try again in 24 hours"):
        found = classify(parse_reply(554, [words + asked]), Stage.CONTENT)
        assert (found.target, found.retry_after_seconds) == (ACCOUNT, HOUR)
