"""What a user's Email tab fills in where a job leaves it open."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from config.effective import EffectiveSettings
    from producers.job import Job

_TAG = re.compile(r"<(?:[a-z][^<>]*|/[a-z][^<>]*)>", re.IGNORECASE)
_BREAK = re.compile(r"<(?:br|/p|/div|/tr|/li)\b[^<>]*>\s*", re.IGNORECASE)
_BODY_END = re.compile(r"</body\s*>", re.IGNORECASE)


def with_user_defaults(job: Job, settings: EffectiveSettings) -> Job:
    """Return the job with signature, cc, bcc, reply-to, receipt and format of its user.

    A ``compose`` job gets them; a ``send`` or ``batch`` job only where it asks for them, so that no
    invoice gets a signature by surprise. What the job says itself stays.
    """
    if job.kind != "compose" and not job.apply_user_defaults:
        return job
    plain_only = settings.mail_format == "plain" and job.text is not None
    markup = job.html
    if markup is None and job.kind == "compose" and settings.mail_format == "html":
        markup = _as_html(job.text or "")  # else the draft would open as plain text
    changes = {
        "cc": job.cc or settings.cc,
        "bcc": job.bcc or settings.bcc,
        "reply_to": job.reply_to or settings.reply_to,
        "read_receipt": job.read_receipt or settings.request_read_receipt,
        "text": _signed_text(job.text, settings.signature),
        "html": None if plain_only else _signed_html(markup, settings.signature),
    }
    return job.model_copy(update=changes)


def _as_html(text: str) -> str:
    return html.escape(text, quote=False).replace("\n", "<br>\n")


def _signed_text(text: str | None, signature: str) -> str | None:
    if text is None or not signature.strip():
        return text
    plain = signature
    if _TAG.search(signature):
        plain = html.unescape(_TAG.sub("", _BREAK.sub("\n", signature)))
    return f"{text.rstrip()}\n\n{plain.strip()}\n"


def _signed_html(markup: str | None, signature: str) -> str | None:
    if markup is None or not signature.strip():
        return markup
    rich = signature.strip()
    if not _TAG.search(signature):
        rich = _as_html(rich)
    block = f"<br><br>\n{rich}\n"
    ends = [match.start() for match in _BODY_END.finditer(markup)]
    at = ends[-1] if ends else len(markup)
    return markup[:at] + block + markup[at:]
