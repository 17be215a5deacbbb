"""The producer: what an application holds to send email through Postmeter."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Self

from .amqp import AmqpSender
from .batches import BatchReceipt, BatchRun
from .embedded import SCHEME, EmbeddedSender, inbox_path
from .envelope import encode
from .error_reports import error_report
from .errors import NotConfirmed
from .identity import uuid7
from .provisioning import provisioning_email
from .topology import Topology

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import EllipsisType

    from .emails import Email
    from .job import Job
    from .sender import Sender
    from .topology import Kind

URL_VARIABLE: Final = "POSTMETER_BROKER_URL"


@dataclass(frozen=True, slots=True)
class Receipt:
    """A job is stored durably.

    Attributes:
        job_id: to ask what became of it.
        message_id: the mail's Message-ID, the same in every attempt.
    """

    job_id: str
    message_id: str


class Producer:
    """Publishes emails; thread-safe, fork-safe, survives idle times, a context manager.

    Args:
        url: ``amqp://``, ``amqps://``, ``embedded:`` or ``embedded:/path/inbox.db``; left out,
            ``POSTMETER_BROKER_URL``, else ``embedded:``.
        company: whose settings apply where a call names none; None is the system.
        user: whose Email tab applies where a call names none; None is the default user.
        confirm_timeout_seconds: how long a call waits for the broker.
        declare: whether to declare the queues when connecting.
        topology: names and type of the queues; left out, from ``POSTMETER_QUEUE_PREFIX`` and
            ``POSTMETER_QUEUE_TYPE``.

    Nothing is connected before the first call. Every method that publishes raises ``InvalidJob``
    before anything is sent, ``NotConfirmed`` when the broker did not answer in time,
    ``TopologyMismatch`` and ``ProducerClosed``.

    Raises:
        ValueError: an address of another kind, or an unknown queue type.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        company: str | None = None,
        user: str | None = None,
        confirm_timeout_seconds: float = 10.0,
        declare: bool = True,
        topology: Topology | None = None,
    ) -> None:
        self._company = company
        self._user = user
        self._topology = topology or Topology.from_environment()
        self._sender = self._open(
            url or os.environ.get(URL_VARIABLE) or SCHEME, confirm_timeout_seconds, declare=declare
        )

    def send(
        self,
        email: Email,
        *,
        company: str | EllipsisType | None = ...,
        user: str | EllipsisType | None = ...,
    ) -> Receipt:
        """Publish one email to be sent at once; returns when it is stored durably."""
        return self._publish_one("send", email, company, user)

    def compose(
        self,
        email: Email,
        *,
        company: str | EllipsisType | None = ...,
        user: str | EllipsisType | None = ...,
    ) -> Receipt:
        """Publish one email to be laid down as the user's draft."""
        return self._publish_one("compose", email, company, user)

    def batch(
        self,
        emails: Iterable[Email],
        *,
        company: str | EllipsisType | None = ...,
        user: str | EllipsisType | None = ...,
        batch_id: str | None = None,
        start_index: int = 0,
        on_invalid: Literal["raise", "collect"] = "raise",
        progress: Callable[[int], None] | None = None,
    ) -> BatchReceipt:
        """Publish any number of emails to be sent at the pace of their company.

        Ids are derived from the company, the batch_id and each email's index. To resume after
        ``BatchAborted``: the same emails with the same ``batch_id``, from the start, or from
        ``error.index`` on with ``start_index=error.index``. Either way each is sent once.

        Args:
            emails: read once, one by one.
            company, user: instead of the producer's.
            batch_id: left out, a new one.
            start_index: the index of the first email.
            on_invalid: ``raise`` ends the batch at the first invalid email; ``collect`` leaves
                it out and goes on.
            progress: called with the count of confirmed jobs, at most ten times a second and at
                the end.

        Raises:
            BatchAborted: the broker, an invalid email or ``emails`` itself ended it.
        """
        company, user = self._context(company, user)
        run = BatchRun(self._sender, self._topology.batch, company, user, batch_id, progress)
        return run.publish(emails, start_index, collect=on_invalid == "collect")

    def publish(self, job: Job) -> Receipt:
        """Publish a job as it is, such as ``NotConfirmed.job`` again: its id stays, so it is sent once."""
        queue = self._topology.queue_for(job.kind)
        body = encode(job, queue)
        try:
            self._sender.send(queue, job.id, body)
        except NotConfirmed as error:
            error.job = job
            raise
        return Receipt(job.id, job.message_id)

    def provision(self, to: str, *, app: str, link: str, download: str) -> Receipt:
        """Mail somebody the link that connects a mobile app, and where to download the app.

        Sent by the system's settings, whatever this producer's company is.
        """
        email = provisioning_email(to, app=app, link=link, download=download)
        return self._publish_one("send", email, None, None)

    def report_error(
        self, error: BaseException | str, *, context: Mapping[str, object] | None = None
    ) -> Receipt:
        """Mail an error to those whom the system's ``error_reports_to`` names.

        Args:
            error: an exception (with its traceback) or a message.
            context: what else helps to understand it; nothing secret.
        """
        job = error_report(error, context=context).to_job(
            "send", uuid7(), company=None, user=None, error_report=True
        )
        return self.publish(job)

    def close(self) -> None:
        """Let go of the connection; everything published is stored already. Safe to call twice."""
        self._sender.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self, url: str, confirm_timeout_seconds: float, *, declare: bool) -> Sender:
        if url.startswith(SCHEME):
            return EmbeddedSender(inbox_path(url))
        if url.startswith(("amqp://", "amqps://")):
            return AmqpSender(
                url,
                self._topology,
                confirm_timeout_seconds=confirm_timeout_seconds,
                declare=declare,
            )
        scheme = url.partition(":")[0][:20]
        raise ValueError(
            f"{URL_VARIABLE}: {scheme}: is not a way in; use amqp://, amqps:// or embedded:"
        )

    def _context(
        self, company: str | EllipsisType | None, user: str | EllipsisType | None
    ) -> tuple[str | None, str | None]:
        return (
            self._company if company is ... else company,
            self._user if user is ... else user,
        )

    def _publish_one(
        self,
        kind: Kind,
        email: Email,
        company: str | EllipsisType | None,
        user: str | EllipsisType | None,
    ) -> Receipt:
        company, user = self._context(company, user)
        return self.publish(email.to_job(kind, uuid7(), company=company, user=user))
