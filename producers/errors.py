"""Every error of this package, in one tree split by what the caller does next.

::

    ProducerError
    ├── InvalidJob                 mend the email; nothing was published (also a ValueError)
    │   └── JobTooLarge            send less, or attach by reference
    ├── InvalidTemplate            mend the template of a batch (also a ValueError)
    ├── InvalidCsv                 mend the file of a batch (also a ValueError)
    ├── NotConfirmed               publish(error.job) again: same id, sent once
    │   ├── BrokerUnavailable      the broker could not be reached: nothing was stored
    │   └── Unroutable             the queue does not exist: nothing was stored
    ├── BatchAborted               resume with error.batch_id from error.index
    ├── TopologyMismatch           the queues exist with other arguments: a person must act
    ├── InboxUnusable              the embedded inbox is a newer version's: a person must act
    ├── ProducerClosed             close() was called before
    └── InvalidEnvelope            a message on the wire that is no job (for those who read)
"""

from __future__ import annotations

import reprlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .job import Job

_SHOWN = 60
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHOWN


class ProducerError(Exception):
    """The root: catching it catches everything this package raises on purpose."""


class InvalidJob(ProducerError, ValueError):
    """The email cannot be published as it is; nothing was published.

    Attributes:
        field: which field, such as ``to.0``.
        problem: what is wrong and what is allowed, without the value.
        index: the email's place in a batch, where there is one.
    """

    def __init__(self, field: str, problem: str, value: object = None) -> None:
        shown = "" if value is None else f" (got {shorten(value)})"
        super().__init__(f"{field}: {problem}{shown}")
        self.field = field
        self.problem = problem
        self.index: int | None = None


class JobTooLarge(InvalidJob):
    """The job, encoded, has more than ``max_job_bytes``."""


class InvalidTemplate(ProducerError, ValueError):
    """A batch's template cannot be used.

    Attributes:
        line: where, counted from 1.
    """

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"template line {line}: {problem}")
        self.line = line


class InvalidCsv(ProducerError, ValueError):
    """A CSV file cannot be read at all."""


class NotConfirmed(ProducerError):
    """The broker did not confirm in time, so the job may or may not be stored.

    Attributes:
        job: give it to ``publish`` again; it keeps its id, so it is sent once.
    """

    def __init__(self, reason: str, job: Job | None = None) -> None:
        super().__init__(reason)
        self.job = job


class BrokerUnavailable(NotConfirmed):
    """The broker could not be reached within the time allowed; nothing was stored."""


class Unroutable(NotConfirmed):
    """The broker has no such queue; nothing was stored."""


class BatchAborted(ProducerError):
    """A batch ended early. Resume it with the same batch_id: nothing is sent twice.

    Attributes:
        batch_id: give it to ``batch`` again.
        confirmed: exactly how many jobs of this call the broker confirmed.
        index: the first email that was not confirmed, or the invalid one.
        cause: what ended it.
    """

    def __init__(self, batch_id: str, confirmed: int, index: int, cause: Exception) -> None:
        super().__init__(
            f"batch {batch_id} ended at email {index} with {confirmed} confirmed: {cause}"
        )
        self.batch_id = batch_id
        self.confirmed = confirmed
        self.index = index
        self.cause = cause


class TopologyMismatch(ProducerError):
    """A queue or exchange exists with other arguments than these settings ask for."""


class InboxUnusable(ProducerError):
    """The embedded inbox was made by a newer version of this package."""


class ProducerClosed(ProducerError):
    """This producer was closed; make a new one."""


class InvalidEnvelope(ProducerError):
    """A message that is no job.

    Attributes:
        reason: one line, without the values that it is about.
        hold: keep it for a newer reader (an unknown schema version).
    """

    def __init__(self, reason: str, *, hold: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hold = hold


def shorten(value: object) -> str:
    """A value as one short line, whatever it is."""
    try:
        text = _SHORT.repr(value)
    except Exception:  # noqa: BLE001 a foreign __repr__ may raise anything, and an error must not hide another
        text = f"a {type(value).__name__}"
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
