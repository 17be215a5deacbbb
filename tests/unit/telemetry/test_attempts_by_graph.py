"""What attempts through Graph count as: its replies have the codes of HTTP."""

from __future__ import annotations

import pytest

from worker.outcome import Fact, Outcome
from worker.telemetry.metrics import AttemptClass
from worker.telemetry.report import attempt_class


@pytest.mark.parametrize(
    ("outcome", "reply", "expected"),
    [
        (Outcome.SENT, "202 accepted", AttemptClass.ACCEPTED),
        (Outcome.DEAD, "400 ErrorInvalidRecipients", AttemptClass.REFUSED),
        (Outcome.HELD, "401 InvalidAuthenticationToken", AttemptClass.CREDENTIAL),
        (Outcome.HELD, "429 ApplicationThrottled", AttemptClass.THROTTLED),
        (Outcome.HELD, "", AttemptClass.UNREACHABLE),
    ],
)
def test_codes_of_http_have_their_own_meaning(
    outcome: Outcome, reply: str, expected: AttemptClass
) -> None:
    """A 4xx that kills a mail refuses it, where a 4yz of SMTP would only have put it off."""
    fact = Fact(
        outcome=outcome,
        job_id="1",
        kind="send",
        company="acme",
        user="jane",
        transport="microsoft-365",
        reply=reply,
        delivery_seconds=1.0,
    )
    assert attempt_class(fact) is expected
