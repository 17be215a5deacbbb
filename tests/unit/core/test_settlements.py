"""From what the server said of each recipient to what is recorded."""

from __future__ import annotations

from tests.support.fakes import LATER, NEVER, OK, heard
from worker.ledger.rows import State
from worker.outcome import RecipientState
from worker.settlements import ended, given_up, is_open, merged, not_taken

A, B, C = "ann@example.org", "bob@example.org", "cat@example.org"


def test_the_last_word_counts_in_the_order_first_heard() -> None:
    """A recipient keeps its place and gets its newest state."""
    earlier = (heard(A, LATER), heard(B, NEVER))
    assert merged(earlier, (heard(C, OK), heard(A, OK))) == (
        heard(A, OK),
        heard(B, NEVER),
        heard(C, OK),
    )


def test_only_the_deferred_are_open() -> None:
    """Accepted and refused are both settled."""
    assert [is_open(heard(A, reply)) for reply in (OK, LATER, NEVER)] == [False, True, False]


def test_who_was_accepted_shares_the_reply_to_a_mail_that_was_not_taken() -> None:
    """A 250 to RCPT is no delivery where the mail itself got a 451; other words stay."""
    found = not_taken((heard(A, OK), heard(B, NEVER)), RecipientState.DEFERRED, LATER)
    assert found == (heard(A, LATER), heard(B, NEVER))


def test_without_a_reply_to_the_mail_nothing_is_settled_of_the_accepted() -> None:
    """The connection broke: only what was refused or deferred by name is known."""
    found = not_taken((heard(A, OK), heard(B, NEVER)), RecipientState.DEFERRED, None)
    assert found == (heard(B, NEVER),)


def test_ended_is_sent_where_anybody_has_it() -> None:
    """One in two: sent, counted for the window only if this attempt's mail was taken."""
    both = (heard(A, OK), heard(B, NEVER))
    assert (ended(both, OK).state, ended(both, OK).accepted) == (State.SENT, True)
    assert (ended(both, None).state, ended(both, None).accepted) == (State.SENT, False)


def test_given_up_is_dead_only_where_nobody_has_it() -> None:
    """Nothing more is tried: the recipients decide, and the reason is one line."""
    dead = given_up("out of time", LATER, (heard(A, LATER),))
    sent = given_up("out of time", None, (heard(A, OK), heard(B, LATER)))
    assert (dead.state, dead.reason, dead.reply) == (State.DEAD, "out of time", str(LATER))
    assert sent.state is State.SENT
    assert sent.reason == "1 of 2 recipients missed: out of time"
    assert given_up("expired", None, ()).state is State.DEAD


def test_given_up_is_unknown_where_an_earlier_reply_never_came() -> None:
    """A person who tried a dead mail again would send it twice; what was taken for one stays sent."""
    lost = given_up("out of time", LATER, (heard(A, LATER),), perhaps_sent=True)
    sent = given_up("out of time", None, (heard(A, OK), heard(B, LATER)), perhaps_sent=True)
    assert (lost.state, lost.event, lost.reply) == (State.UNKNOWN, "unknown", str(LATER))
    assert lost.reason == "out of time; the reply to an earlier attempt never came"
    assert sent.state is State.SENT
