"""A batch's template: header lines, an empty line, the body, with ``{{column}}`` in all of them.

::

    Subject: Your invoice {{number}}
    To: {{name}} <{{email}}>

    Dear {{name}}, …
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from .emails import Email
from .errors import InvalidTemplate

if TYPE_CHECKING:
    from collections.abc import Mapping

_PLACEHOLDER: Final = re.compile(r"\{\{[ \t]*([^{}\n]*?)[ \t]*\}\}")
_HEADER: Final = re.compile(r"([!-9;-~]+):[ \t]*(.*)")
_ADDRESS_COLUMNS: Final = ("email", "e-mail", "to", "address", "email address")
_RECIPIENTS: Final = ("to", "cc", "bcc", "reply-to")
_KNOWN: Final = (*_RECIPIENTS, "subject", "from", "format")


@dataclass(frozen=True, slots=True)
class Template:
    """A template that was read.

    Attributes:
        headers: the lower-case names of its headers, and what they hold.
        body: what follows the empty line.
        is_html: whether the body is HTML: values are escaped in it then.
        lines: all of it, to say where something is wrong.
    """

    headers: Mapping[str, str]
    body: str
    is_html: bool
    lines: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Template:
        """Read a template.

        The headers are Subject (needed), To, Cc, Bcc, Reply-To, From, and Format (``text`` or
        ``html``; left out, HTML where the body starts with ``<``). Others are sent as they are.

        Raises:
            InvalidTemplate: a line of it is wrong.
        """
        lines = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
        headers: dict[str, str] = {}
        body_starts = len(lines)
        for number, line in enumerate(lines, 1):
            if not line.strip():
                body_starts = number
                break
            match = _HEADER.fullmatch(line.rstrip())
            if match is None:
                raise InvalidTemplate(
                    number, "begin with header lines such as 'Subject: Hello', then an empty line"
                )
            name = match[1].lower()
            if name in headers:
                raise InvalidTemplate(number, f"{match[1]} stands twice")
            headers[name] = match[2]
        body = "\n".join(lines[body_starts:])
        if "subject" not in headers:
            raise InvalidTemplate(1, "a line 'Subject: …' is missing")
        if not body.strip():
            raise InvalidTemplate(len(lines), "there is no body after the empty line")
        form = headers.get("format", "html" if body.lstrip().startswith("<") else "text").lower()
        if form not in {"html", "text"}:
            raise InvalidTemplate(1, "Format: use text or html")
        return cls(headers, body, form == "html", tuple(lines))

    def check_columns(self, columns: tuple[str, ...]) -> Template:
        """This template, with a To line if it had none, after checking every placeholder.

        Raises:
            InvalidTemplate: a placeholder names no column, or nobody is addressed.
        """
        known = {column.lower() for column in columns}
        for number, line in enumerate(self.lines, 1):
            for name in _PLACEHOLDER.findall(line):
                if name.lower() not in known:
                    raise InvalidTemplate(
                        number, f"{{{{{name}}}}} is no column; there are: {', '.join(columns)}"
                    )
        if "to" in self.headers:
            return self
        for column in _ADDRESS_COLUMNS:
            if column in known:
                return replace(self, headers={**self.headers, "to": f"{{{{{column}}}}}"})
        raise InvalidTemplate(1, "add a line 'To: {{column}}': no column is called email or to")

    def fill(self, row: Mapping[str, str]) -> Email:
        """The email for one row: lower-case column names and their values."""
        filled = {name: _fill(value, row) for name, value in self.headers.items()}
        body = _fill(self.body, row, escape=self.is_html)
        return Email(
            filled["to"],
            filled["subject"],
            text=None if self.is_html else body,
            html=body if self.is_html else None,
            sender=filled.get("from"),
            cc=filled.get("cc", ""),
            bcc=filled.get("bcc", ""),
            reply_to=filled.get("reply-to"),
            headers={name: value for name, value in filled.items() if name not in _KNOWN},
        )


def _fill(text: str, row: Mapping[str, str], *, escape: bool = False) -> str:
    def value(match: re.Match[str]) -> str:
        found = row[match[1].lower()]
        return html.escape(found) if escape else found

    return _PLACEHOLDER.sub(value, text)
