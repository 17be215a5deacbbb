"""One batch on its way: checks each email, streams the jobs, counts exactly what is stored."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from .envelope import encode
from .errors import BatchAborted, InvalidJob, NotConfirmed
from .identity import batch_job_id, uuid7

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .emails import Email
    from .sender import Sender, Stream

_PROGRESS_SECONDS: Final = 0.1
#: What is wrong with these is wrong with every email of the call: it is never collected.
_OF_THE_CALL: Final = ("batch_id", "company", "user")


@dataclass(frozen=True, slots=True)
class BatchReceipt:
    """A batch is stored durably.

    Attributes:
        batch_id: to ask what became of it.
        confirmed: how many jobs of this call were stored.
        invalid: what could not be published, each with its ``index`` (``on_invalid="collect"``).
    """

    batch_id: str
    confirmed: int
    invalid: tuple[InvalidJob, ...] = ()


class BatchRun:
    """One call of ``Producer.batch``."""

    def __init__(
        self,
        sender: Sender,
        queue: str,
        company: str | None,
        user: str | None,
        batch_id: str | None,
        progress: Callable[[int], None] | None,
    ) -> None:
        self._sender = sender
        self._queue = queue
        self._company = company
        self._user = user
        self._batch_id = uuid7() if batch_id is None else batch_id
        self._progress = progress
        self._told_at = time.monotonic()
        self._stream: Stream | None = None

    def publish(self, emails: Iterable[Email], start_index: int, *, collect: bool) -> BatchReceipt:
        """Publish every email; see ``Producer.batch``.

        Raises:
            BatchAborted: something ended it early.
        """
        invalid: list[InvalidJob] = []
        index = start_index
        iterator = iter(emails)
        try:
            while True:
                try:
                    email = next(iterator)
                except StopIteration:
                    break
                try:
                    self._put(index, email)
                except InvalidJob as error:
                    error.index = index
                    if not collect or error.field in _OF_THE_CALL:
                        raise
                    invalid.append(error)
                index += 1
            if self._stream is not None:
                self._stream.finish()
            self._tell(now=True)
        except Exception as error:
            raise self._aborted(index, error) from error
        return BatchReceipt(self._batch_id, self._confirmed, tuple(invalid))

    @property
    def _confirmed(self) -> int:
        return 0 if self._stream is None else self._stream.confirmed

    def _put(self, index: int, email: Email) -> None:
        job_id = batch_job_id(self._company, self._batch_id, index)
        job = email.to_job(
            "batch",
            job_id,
            company=self._company,
            user=self._user,
            batch=(self._batch_id, index),
        )
        body = encode(job, self._queue)
        if self._stream is None:
            self._stream = self._sender.stream(self._queue)
        self._stream.put(index, job_id, body)
        self._tell()

    def _tell(self, *, now: bool = False) -> None:
        if self._progress is None:
            return
        if now or time.monotonic() - self._told_at >= _PROGRESS_SECONDS:
            self._told_at = time.monotonic()
            self._progress(self._confirmed)

    def _aborted(self, index: int, cause: Exception) -> BatchAborted:
        """What to tell: everything before a bad email is still confirmed first."""
        stream = self._stream
        if stream is not None:
            if not isinstance(cause, NotConfirmed):
                try:
                    stream.finish()
                except NotConfirmed as error:
                    cause = error
            first = stream.first_unconfirmed()
            index = index if first is None else first
        return BatchAborted(self._batch_id, self._confirmed, index, cause)
