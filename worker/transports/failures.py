"""From a server's reply to the error that says what to do next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.errors import AttemptError, Deferred, Held, Rejected
from worker.outcome import HoldTarget, RecipientReply, RecipientState, TargetKind
from worker.replies import Classification, Stage, Verdict, classify

if TYPE_CHECKING:
    from config.effective import EffectiveSettings
    from worker.outcome import Reply


_PERMANENT = 500
"""5yz: refused for good (RFC 5321 4.2.1)."""


@dataclass(frozen=True, slots=True)
class Party:
    """Who is on the two ends of a connection, under the keys that holds use."""

    server: str
    account: str
    credential: str

    @classmethod
    def of(cls, settings: EffectiveSettings) -> Party:
        """Return the party that these settings speak of."""
        return cls(settings.server, settings.account, settings.credential)

    def target(self, kind: TargetKind) -> HoldTarget:
        """Return what a hold of this kind stands on; what is no part of it is the server."""
        keys = {TargetKind.ACCOUNT: self.account, TargetKind.CREDENTIAL: self.credential}
        key = keys.get(kind)
        return HoldTarget(TargetKind.SERVER, self.server) if key is None else HoldTarget(kind, key)

    def server_held(self, reason: str, *, mail_sent: bool = False) -> Held:
        """Return the error for a server that does not work now."""
        return Held(
            f"{self.server}: {reason}", target=self.target(TargetKind.SERVER), mail_sent=mail_sent
        )

    def account_held(self, reason: str) -> Held:
        """Return the error for an account whose settings do not fit its server."""
        return Held(f"{self.account}: {reason}", target=self.target(TargetKind.ACCOUNT))


def error_for(
    reply: Reply,
    stage: Stage,
    party: Party,
    *,
    mail_sent: bool,
    recipients: tuple[RecipientReply, ...] = (),
) -> AttemptError:
    """Return the error that a negative reply calls for.

    The reason has the reply's codes but not its words: those may hold addresses, and go along in
    ``reply``.
    """
    found = classify(reply, stage)
    reason = f"{found.reason} ({_codes(reply)} to {stage.value})"
    if found.verdict is Verdict.HOLD:
        assert found.target is not None
        return Held(
            f"{party.server}: {reason}",
            target=party.target(found.target),
            reply=reply,
            mail_sent=mail_sent,
            retry_after_seconds=found.retry_after_seconds,
        )
    if found.verdict is Verdict.DEAD:
        return Rejected(reason, reply=reply, mail_sent=mail_sent, recipients=recipients)
    return Deferred(
        reason,
        reply=reply,
        mail_sent=mail_sent,
        recipients=recipients,
        retry_after_seconds=found.retry_after_seconds,
    )


def login_refused(reply: Reply, party: Party, complaint: str | None = None) -> AttemptError:
    """Return the error for a refused login.

    Args:
        complaint: what the server said of an access token beside its reply; None where it was
            given a password.
    """
    error = error_for(reply, Stage.AUTH, party, mail_sent=False)
    if (
        complaint is None
        or classify(reply, Stage.AUTH).rule != "generic"
        or reply.code < _PERMANENT
    ):
        return error
    said = "; ".join(filter(None, (f"{_codes(reply)} to auth", complaint)))
    return Held(
        f"{party.server}: the server refused the access token ({said}): check username, and that "
        "the app or person may send from that mailbox",
        target=party.target(TargetKind.CREDENTIAL),
        reply=reply,
    )


def recipient_reply(address: str, reply: Reply) -> tuple[RecipientReply, Classification | None]:
    """Return what the server said of one recipient, with its meaning where it was negative."""
    if reply.code // 100 == 2:  # noqa: PLR2004 - 2yz: accepted (RFC 5321 4.2.1)
        return RecipientReply(address, RecipientState.ACCEPTED, reply), None
    found = classify(reply, Stage.RCPT)
    dead = found.verdict is Verdict.DEAD
    state = RecipientState.REFUSED if dead else RecipientState.DEFERRED
    return RecipientReply(address, state, reply), found


def _codes(reply: Reply) -> str:
    return f"{reply.code} {reply.enhanced}" if reply.enhanced else str(reply.code)
