"""From a job and its settings to the mail that leaves: recipients, defaults, attachments, MIME."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from config.email_limits import provider_refuses
from worker import mime
from worker.errors import Rejected
from worker.user_defaults import with_user_defaults

if TYPE_CHECKING:
    from pathlib import Path

    from config.effective import EffectiveSettings
    from producers.job import Job
    from worker.transports.base import Mail


class Composer:
    """Makes the mail of a job; the same bytes in every attempt.

    Args:
        attachments: the folder of attachments that jobs carry by reference, if there is one.
    """

    def __init__(self, attachments: Path | None) -> None:
        self._attachments = attachments

    def __call__(
        self, job: Job, settings: EffectiveSettings, date_at: float, settled: frozenset[str]
    ) -> Mail:
        """Render a job for the recipients that are left.

        Raises:
            Rejected: it can't be rendered, or its provider takes no such email; the reason says
                what to change.
        """
        if job.error_report and not job.recipients:
            if not settings.error_reports_to:
                raise Rejected(
                    "an error report has no recipients: set error_reports_to in [system] of"
                    " system.toml"
                )
            job = job.model_copy(update={"to": settings.error_reports_to})
        job = with_user_defaults(job, settings)
        contents = {
            a.reference: self._content(a.name, a.reference, a.sha256)
            for a in job.attachments
            if a.reference is not None
        }
        mail = mime.render(
            job, settings, message_id=job.message_id, date=date_at, contents=contents
        )
        left = tuple(address for address in mail.recipients if address not in settled)
        refusal = provider_refuses(len(left), len(mail.content), settings)
        if refusal is not None:
            raise Rejected(refusal)
        return replace(mail, recipients=left, job=job, contents=contents)

    def _content(self, name: str, reference: str, sha256: str | None) -> bytes:
        """Read one attachment below the folder, and check that it is what was published."""
        if self._attachments is None:
            raise Rejected(
                f"attachment {name!r} is by reference, and POSTMETER_ATTACHMENTS is not set"
            )
        path = (self._attachments / reference).resolve()
        if not path.is_relative_to(self._attachments.resolve()):
            raise Rejected(f"attachment {name!r}: its reference leaves the attachments' folder")
        try:
            content = path.read_bytes()
        except OSError as error:
            raise Rejected(f"attachment {name!r} cannot be read: {error.strerror}") from error
        if hashlib.sha256(content).hexdigest() != sha256:
            raise Rejected(f"attachment {name!r} is not what was published: its SHA-256 differs")
        return content
