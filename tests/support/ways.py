"""Compose, Send Batch and Send Mailer: a case for each value of the page, and for each gate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

SMTP: Final = "smtp"
GRAPH: Final = "microsoft-365"
SAVED: Final = "a saved draft"
FILE: Final = "a draft as a file"
DESKTOP: Final = "needs a worker on the user's Windows desktop, which this version does not have"
NOT_ALLOWED: Final = '"microsoft-365" needs web.allow_microsoft_365 = true in '
NO_WAY: Final = "autodetect finds no way to send"


@dataclass(frozen=True, slots=True)
class Case:
    """One company whose file says something of one option, and what becomes of its mail.

    Attributes:
        option: ``compose``, ``send_batch`` or ``send_mailer``: the kind of job with it.
        value: what the company's file says of it, empty for nothing.
        end: which way the mail takes, or words of the sentence that holds it.
        user: what the user's file says of the option, empty for nothing.
        gate: whether the company's file lets the user choose.
        allowed: whether it allows Microsoft 365.
        server: whether it has an SMTP server.
    """

    option: str
    value: str
    end: str
    user: str = ""
    gate: bool = False
    allowed: bool = True
    server: bool = True

    def __str__(self) -> str:
        gate = f"-{self.user}-{'open' if self.gate else 'closed'}" if self.user else ""
        more = ("" if self.allowed else "-not-allowed") + ("" if self.server else "-no-server")
        return f"{self.option}-{self.value or 'default'}{gate}{more}"

    @property
    def company(self) -> str:
        """The company's id: made of what is special about it."""
        return str(self).replace("_", "-").lower()

    def toml(self, registration: str) -> str:
        """The company's file."""
        allowed = "true" if self.allowed else "false"
        gate = "true" if self.gate else "false"
        chosen = f'{self.option} = "{self.value}"\n' if self.value else ""
        replicated = "replicate_from_system = true\n" if self.server else ""
        return (
            f"{replicated}[web]\nallow_microsoft_365 = {allowed}\n[mail_options]\n{chosen}"
            f"{self.option}_allow_user_selection = {gate}\n{registration}"
        )


def _cases() -> Iterator[Case]:
    ends = {
        "compose": {"accredo-mailer": FILE, "autodetect": FILE, GRAPH: SAVED},
        "send_batch": {SMTP: SMTP, GRAPH: GRAPH},
        "send_mailer": {SMTP: SMTP, "autodetect": SMTP, GRAPH: GRAPH},
    }
    desktops = {"send_batch": ("outlook", "full-mapi")}
    for option, by_value in ends.items():
        other = next(iter(by_value))
        for value, end in by_value.items():
            yield Case(option, value, end)
            yield Case(option, other, end, user=value, gate=True)
        for value in desktops.get(option, ("outlook", "full-mapi", "simple-mapi")):
            yield Case(option, value, DESKTOP)
            yield Case(option, other, DESKTOP, user=value, gate=True)
        yield Case(option, "", by_value[other])
        yield Case(option, other, by_value[other], user=GRAPH)
        yield Case(option, GRAPH, NOT_ALLOWED, allowed=False)
    yield Case("send_mailer", "autodetect", GRAPH, server=False)
    yield Case("send_mailer", "autodetect", NO_WAY, server=False, allowed=False)


CASES: Final = tuple(_cases())
