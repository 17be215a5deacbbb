"""The error report: an error that happened where nobody is logged on to a company.

It has no recipient of its own: the worker fills in the system's ``error_reports_to``.
"""

from __future__ import annotations

import html
import platform
import sys
import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from .addresses import has_control
from .emails import Email

if TYPE_CHECKING:
    from collections.abc import Mapping

_SUBJECT_CHARACTERS: Final = 120
_VALUE_CHARACTERS: Final = 2000
_TRACEBACK_CHARACTERS: Final = 50_000


def error_report(
    error: BaseException | str,
    *,
    context: Mapping[str, object] | None = None,
    now: datetime | None = None,
) -> Email:
    """An email, as text and HTML, that tells an error: what, when, where, and the traceback.

    Local variables are never in it, so neither are the secrets they hold.
    """
    when = (now or datetime.now(UTC)).astimezone(UTC)
    title, message, trace = _describe(error)
    rows = {
        "Time": when.strftime("%Y-%m-%d %H:%M:%S UTC"),
        "Computer": platform.node() or "unknown",
        "Program": sys.argv[0] or "unknown",
        **{str(key): str(value)[:_VALUE_CHARACTERS] for key, value in (context or {}).items()},
    }
    return Email(
        (),
        _one_line(f"{title}: {message}" if message else title),
        text=_text(title, message, rows, trace),
        html=_html(title, message, rows, trace),
        headers={"Auto-Submitted": "auto-generated"},  # RFC 3834: no out-of-office replies
    )


def _describe(error: BaseException | str) -> tuple[str, str, str]:
    """Its name, its message and its traceback."""
    if isinstance(error, str):
        return "Error", _clean(error), ""
    trace = "".join(traceback.format_exception(error))
    if len(trace) > _TRACEBACK_CHARACTERS:  # the last lines tell most
        trace = f"…\n{trace[-_TRACEBACK_CHARACTERS:]}"
    return type(error).__name__, _clean(str(error)), _clean(trace)


def _clean(text: str) -> str:
    """What can be mailed of a text: no half surrogates, no control characters but line ends."""
    kept = (c if c in "\n\t" or not has_control(c) else "\N{REPLACEMENT CHARACTER}" for c in text)
    return "".join(kept)


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SUBJECT_CHARACTERS else line[: _SUBJECT_CHARACTERS - 1] + "…"


def _text(title: str, message: str, rows: Mapping[str, str], trace: str) -> str:
    width = max(map(len, rows))
    lines = [title, *([message] if message else []), ""]
    lines += [f"{_clean(key):<{width}}  {_clean(value)}" for key, value in rows.items()]
    return "\n".join([*lines, *(["", trace] if trace else []), ""])


def _html(title: str, message: str, rows: Mapping[str, str], trace: str) -> str:
    cells = "\n".join(
        '<tr><th align="left" valign="top" style="padding:2px 16px 2px 0">'
        f"{html.escape(_clean(key))}</th><td>{html.escape(_clean(value))}</td></tr>"
        for key, value in rows.items()
    )
    code = (
        '<pre style="background:#f4f4f4;padding:12px;white-space:pre-wrap;font-size:13px">'
        f"{html.escape(trace)}</pre>"
    )
    return f"""\
<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{html.escape(title)}</title></head>
<body style="font-family:Arial,Helvetica,sans-serif;font-size:15px;line-height:1.5;color:#222222">
<h1 style="font-size:20px">{html.escape(title)}</h1>
<p style="white-space:pre-wrap">{html.escape(message)}</p>
<table style="border-collapse:collapse;font-size:14px">
{cells}
</table>
{code if trace else ""}
</body>
</html>
"""
