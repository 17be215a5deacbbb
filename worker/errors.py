"""Every error of the worker, in one tree split by what the caller does next.

::

    PostmeterError
    ├── AttemptError               one attempt to deliver came to nothing
    │   ├── Deferred               try this mail again later
    │   ├── Held                   not this mail's fault: hold the target, keep the mail
    │   ├── Rejected               never try again: the mail is dead
    │   └── Unknown                DATA was begun and no reply came: perhaps delivered
    ├── BeginRefused               another copy or worker has this job: send nothing, forget it
    ├── LedgerError
    │   ├── LedgerUnavailable      stop taking jobs in, send nothing, try again
    │   └── LedgerUnusable         wrong version or address: a person must act; exit 2
    ├── InvalidEnvelope            a message that is no job: keep it among the dead letters
    ├── BrokerUnavailable          the way in or the way out for events is gone; try again
    └── UsageError                 the command or its environment is wrong; exit 2
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.outcome import HoldTarget, RecipientReply, Reply


class PostmeterError(Exception):
    """The root: catching it catches everything the worker raises on purpose."""


class AttemptError(PostmeterError):
    """One attempt to deliver came to nothing.

    Attributes:
        reason: one line for a person; no secret, no full address.
        reply: the server's reply where there was one.
        mail_sent: whether MAIL (or a request to send) reached the server: then the slot is used.
        recipients: what the server said of each recipient so far.
    """

    def __init__(
        self,
        reason: str,
        *,
        reply: Reply | None = None,
        mail_sent: bool = False,
        recipients: tuple[RecipientReply, ...] = (),
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.reply = reply
        self.mail_sent = mail_sent
        self.recipients = recipients


class Deferred(AttemptError):
    """The server refused this mail for now; try again after the back-off.

    Attributes:
        retry_after_seconds: the server's own wish, where it gave one.
    """

    def __init__(
        self,
        reason: str,
        *,
        reply: Reply | None = None,
        mail_sent: bool = True,
        recipients: tuple[RecipientReply, ...] = (),
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(reason, reply=reply, mail_sent=mail_sent, recipients=recipients)
        self.retry_after_seconds = retry_after_seconds


class Held(AttemptError):
    """A server, an account or a credential does not work now; the mail is not to blame.

    Attributes:
        target: what gets nothing until it works again.
        retry_after_seconds: the server's own wish, where it gave one.
        time_is_known: whether that time is no wish, but known here: it is then taken as it is.
        passed_on_seconds: for how much longer another mail's failure, which this is, speaks for
            all; None where the server has told this mail itself.
    """

    def __init__(
        self,
        reason: str,
        *,
        target: HoldTarget,
        reply: Reply | None = None,
        mail_sent: bool = False,
        retry_after_seconds: float | None = None,
        time_is_known: bool = False,
        passed_on_seconds: float | None = None,
    ) -> None:
        super().__init__(reason, reply=reply, mail_sent=mail_sent)
        self.target = target
        self.retry_after_seconds = retry_after_seconds
        self.time_is_known = time_is_known
        self.passed_on_seconds = passed_on_seconds


class Rejected(AttemptError):
    """This mail will never be accepted; it is kept with its reason until a person decides."""


class Unknown(AttemptError):
    """DATA was begun and the reply never came: the mail may or may not have been accepted."""


class BeginRefused(PostmeterError):
    """The ledger did not let this attempt begin; not a byte of the mail may leave."""


class LedgerError(PostmeterError):
    """The ledger did not do what was asked."""


class LedgerUnavailable(LedgerError):
    """The ledger cannot be read or written now (locked, read-only, disk full, away)."""


class LedgerUnusable(LedgerError):
    """The ledger's version or address does not fit this worker; only a person can mend that."""


class InvalidEnvelope(PostmeterError):
    """A message that is no job: its one-line reason goes with it to the dead letters.

    Attributes:
        hold: keep it for a newer worker instead (an unknown schema version).
    """

    def __init__(self, reason: str, *, hold: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hold = hold


class BrokerUnavailable(PostmeterError):
    """RabbitMQ or the inbox cannot be reached now."""


class UsageError(PostmeterError):
    """The command line or the environment is wrong; the message says what to change."""
