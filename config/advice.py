"""What works but should be known: one line each, with file, key, value and what to do."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from config.office365 import is_office365
from config.rules import about

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from datetime import date

    from config.context import Context
    from config.errors import Problem
    from config.layer import Layer

SECRET_DAYS: Final = 14
"""How long before a client secret ends one is told."""


def warnings(context: Context) -> Iterator[Problem]:
    """What works in a context but should be known."""
    for dotted, dangerous, what in (
        ("tls.verify", False, "anyone on the way can read mail and password"),
        ("smtp.allow_cleartext_password", True, "passwords may cross the network readable"),
        ("smtp.transport_security", "tls1.0", "broken since 2011; use it for old devices only"),
        ("smtp.transport_security", "tls1.1", "broken since 2011; use it for old devices only"),
    ):
        written = context.values[dotted].written
        if written.value == dangerous and written.layer != "default":
            yield about(context, written, what)
    server = context.values["smtp.server_address"].written
    if context["smtp.authentication_model"] == "oauth2" and not (
        is_office365(server.value) or server.value == context["microsoft_365.smtp_host"]
    ):
        yield about(context, server, "oauth2 is for Office 365; this host is not its")
    yield from _ends_soon(context, datetime.now(UTC).date())


def _ends_soon(context: Context, today: date) -> Iterator[Problem]:
    """A client secret that ends within ``SECRET_DAYS``, or has ended."""
    written = context.values["microsoft_365.client_secret_expires"].written
    if written.value is None or context["microsoft_365.grant"] != "client-secret":
        return
    days = (written.value - today).days
    if days > SECRET_DAYS:
        return
    when = "it has ended" if days <= 0 else f"it ends in {days} day{'s' * (days != 1)}"
    yield about(context, written, f"{when}: register a new client secret, and write its day here")


def default_user_warnings(context: Context, users: Collection[str]) -> Iterator[Problem]:
    """A default user who is not there (yet): jobs without a user would not find anyone."""
    written = context.values["smtp.default_user"].written
    if written.value is not None and written.value not in users:
        yield about(context, written, f"{context.id} has no such user")


def user_warnings(context: Context, user: Layer) -> Iterator[Problem]:
    """What works for a user but should be known."""
    needed = {"required": ("username", "password"), "optional": ("username",), "none": ()}
    if context["smtp.server_address"] and context["smtp.authentication_model"] == "basic":
        authorisation = context["smtp.authorisation"]
        for name in needed[authorisation]:
            if f"email.{name}" not in user.values:
                what = f'missing, and smtp.authorisation is "{authorisation}": the account is held'
                yield user.place.problem(f"email.{name}", what)
