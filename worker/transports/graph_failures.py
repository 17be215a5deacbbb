"""From what Graph answers to the error that says what to do next, and who heeds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from worker.errors import Held, PostmeterError, Rejected
from worker.outcome import HoldTarget, Reply, TargetKind
from worker.pace import scope_of_app
from worker.retry import granted
from worker.transports.graph_replies import SUCCESS, Operation, Target, Verdict, classify

if TYPE_CHECKING:
    from collections.abc import Callable

    from config.effective import EffectiveSettings
    from worker.transports.graph_replies import Answer

HEEDED_SECONDS: Final = 5.0
"""How long a failure speaks for all mails in hand at the most: until every reader of the ledger has
seen its hold, and not so long that a person who ends the hold would wait."""
_SHARE: Final = 0.9
"""… and of the time until the hold's first probe, which must get through."""


class Unsure(PostmeterError):
    """Nobody knows whether a request took effect: it was cut off, or Graph failed in the middle.

    Attributes:
        reason: one line for a person.
        lost: no answer came at all.
    """

    def __init__(self, reason: str, *, lost: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.lost = lost


class Missing(PostmeterError):
    """There is no such message, or no such upload."""


class TooSmall(PostmeterError):
    """The attachment is too small for an upload session."""


def check(answer: Answer, operation: Operation, settings: EffectiveSettings) -> Answer:
    """Return the answer if it is the success that the operation promises.

    Raises:
        Held: a target gets nothing for now.
        Rejected: this mail never.
        Missing: there is no such message.
        TooSmall: an upload is not the way.
        Unsure: it is open what became of the request.
    """
    if answer.status in SUCCESS[operation]:
        return answer
    found = classify(answer, operation)
    reason = f"{found.reason} ({answer.words} to {operation.value})"
    reply = Reply(answer.status, " ".join(dict.fromkeys(answer.codes)) or "no code")
    mail_sent = operation is Operation.SEND
    match found.verdict:
        case Verdict.HOLD | Verdict.RENEW:
            assert found.target is not None
            raise Held(
                f"{settings.server}: {reason}",
                target=target_of(found.target, settings),
                reply=reply,
                mail_sent=mail_sent,
                retry_after_seconds=found.retry_after_seconds,
            )
        case Verdict.DEAD:
            raise Rejected(reason, reply=reply, mail_sent=mail_sent)
        case Verdict.MISSING:
            raise Missing(reason)
        case Verdict.SMALL:
            raise TooSmall(reason)
        case _:
            raise Unsure(reason)


def target_of(target: Target, settings: EffectiveSettings) -> HoldTarget:
    """Return what a hold stands on."""
    if target is Target.APP and settings.registration is not None:
        return HoldTarget(TargetKind.SCOPE, scope_of_app(settings.registration))
    if target is Target.ACCOUNT:
        return HoldTarget(TargetKind.ACCOUNT, settings.account)
    if target is Target.CREDENTIAL:
        return HoldTarget(TargetKind.CREDENTIAL, settings.credential)
    return HoldTarget(TargetKind.SERVER, settings.server)


class Heeding:
    """A failure speaks for all mails in hand, so that each need not find out for itself.

    Args:
        clock: seconds that only go forward.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures: dict[HoldTarget, tuple[Held, float]] = {}

    def note(self, held: Held) -> None:
        """Let a failure speak."""
        wish = held.retry_after_seconds
        patience = HEEDED_SECONDS if wish is None else min(HEEDED_SECONDS, granted(wish).seconds)
        self._failures[held.target] = held, self._clock() + _SHARE * patience

    def heed(self, settings: EffectiveSettings) -> None:
        """Pass on what another mail has just met.

        Raises:
            Held: the same again, without the reply to the other, and with how much longer it is
                passed on.
        """
        for target in Target:
            known = self._failures.get(target_of(target, settings))
            if known is None:
                continue
            held, until = known
            left_seconds = until - self._clock()
            if left_seconds > 0:
                raise Held(
                    held.reason,
                    target=held.target,
                    retry_after_seconds=held.retry_after_seconds,
                    passed_on_seconds=left_seconds,
                )
            del self._failures[held.target]
