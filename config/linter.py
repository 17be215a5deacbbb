"""The settings in force against what Office 365 takes: limits above its own, and ways it has closed.

Sources: learn.microsoft.com/office365/servicedescriptions/exchange-online-service-description/
exchange-online-limits (limits), learn.microsoft.com/exchange/troubleshoot/send-emails/
smtp-submission-improvements (connections), techcommunity.microsoft.com/blog/exchange/4489835 (Basic
authentication, as of January 2026), learn.microsoft.com/exchange/clients-and-mobile-in-exchange-
online/opt-in-exchange-online-endpoint-for-legacy-tls-using-smtp-auth (TLS 1.0 and 1.1).
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from config.context import KEYS
from config.errors import Problem
from config.layer import shown
from config.office365 import (
    MAILBOX_CONNECTIONS,
    MAILBOX_EMAILS_PER_MIN,
    MAILBOX_RECIPIENTS_PER_DAY,
    MOST_EMAIL_MB,
    MOST_RECIPIENTS_PER_EMAIL,
    is_office365,
    takes_old_tls,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from config.effective import EffectiveSettings

MOST: Final[Mapping[str, tuple[int, str]]] = {
    "mailbox_emails_per_min": (MAILBOX_EMAILS_PER_MIN, "a minute from one mailbox"),
    "mailbox_emails_per_day": (MAILBOX_RECIPIENTS_PER_DAY, "recipients a day from one mailbox"),
    "mailbox_recipients_per_day": (MAILBOX_RECIPIENTS_PER_DAY, "recipients a day from one mailbox"),
    "mailbox_connections": (MAILBOX_CONNECTIONS, "connections at a time from one mailbox"),
    "mailbox_recipients_per_email": (
        MOST_RECIPIENTS_PER_EMAIL,
        "recipients of one email, and that only where an administrator has raised it from 500",
    ),
    "mailbox_email_mb": (
        MOST_EMAIL_MB,
        "MB in one email, and that only where an administrator has raised it from 35",
    ),
}
"""What a mailbox's own limits must not pass, and what Office 365 says of it."""

_KEPT_FOR_EACH_USER: Final = (
    "mailbox_emails_per_min",
    "mailbox_emails_per_day",
    "mailbox_recipients_per_day",
    "mailbox_connections",
)
_IMPLICIT_PORTS: Final = (465, 2465)
_NAMED: Final = 3


def lint(settings: Iterable[EffectiveSettings]) -> tuple[Problem, ...]:
    """Compare what is in force for every user and kind of job with what the provider takes."""
    listed = list(settings)
    office = [each for each in listed if by_office365(each)]
    found = dict.fromkeys(_batches(office))
    for each in office:
        found.update(dict.fromkeys(_mailbox(each)))
        if _by_its_smtp(each):
            found.update(dict.fromkeys(_server(each)))
    found.update(dict.fromkeys(_shared(listed)))
    return tuple(found)


def by_office365(settings: EffectiveSettings) -> bool:
    """Whether the mail leaves through a mailbox of Office 365; a relay has other limits."""
    return settings.transport == "microsoft-365" or _by_its_smtp(settings)


def _by_its_smtp(settings: EffectiveSettings) -> bool:
    """Whether mail, or what Graph does not carry of it, goes to an SMTP server of Office 365."""
    ways = {"smtp": True, "microsoft-365": settings.uncarried == "smtp"}
    by_oauth2 = settings.authentication_model == "oauth2"
    return ways.get(settings.transport, False) and (
        by_oauth2 or is_office365(settings.server_address)
    )


def _mailbox(settings: EffectiveSettings) -> Iterator[Problem]:
    """A mailbox's limits that are above the provider's."""
    for name, (most, what) in MOST.items():
        value: int | None = getattr(settings, name)
        if value is not None and value > most:
            yield _about(settings, name, f"Office 365 takes {most} {what}: write {most} or less")


def _batches(office: Sequence[EffectiveSettings]) -> Iterator[Problem]:
    """A context's limit that is above what all its mailboxes together may send."""
    contexts: dict[str, list[EffectiveSettings]] = defaultdict(list)
    for each in office:
        if each.kind == "batch":
            contexts[each.context].append(each)
    for users in contexts.values():
        mailboxes = len({each.mailbox.casefold() for each in users})
        most, rate = MAILBOX_EMAILS_PER_MIN * mailboxes, users[0].batch_emails_per_min
        if rate is not None and rate > most:
            has = f", and there are {mailboxes}" if mailboxes > 1 else ""
            what = f"Office 365 takes {MAILBOX_EMAILS_PER_MIN} a minute from one mailbox{has}"
            yield _about(users[0], "batch_emails_per_min", f"{what}: write {most} or less")


def _server(settings: EffectiveSettings) -> Iterator[Problem]:
    """Ways to connect and to log in that Office 365 has closed, or will close."""
    host = settings.server_address or ""
    if settings.authentication_model == "basic" and settings.authorisation != "none":
        what = (
            "Office 365 turns Basic authentication off at the end of December 2026 (an "
            "administrator can turn it on again, but not for good: its end will be announced in "
            'the second half of 2027; tenants made later do not have it): write "oauth2"'
        )
        yield _about(settings, "authentication_model", what)
    if settings.transport_security in {"tls1.0", "tls1.1"}:
        if takes_old_tls(host):
            what = (
                "this server takes it only where an administrator has opted in "
                "(Set-TransportConfig -AllowLegacyTLSClients $true)"
            )
        else:
            what = (
                "Office 365 has not supported TLS 1.0 and 1.1 since October 2020, but for "
                'smtp-legacy.office365.com where a tenant has opted in: write "tls"'
            )
        yield _about(settings, "transport_security", what)
    if settings.port in _IMPLICIT_PORTS:
        yield _about(settings, "port", "Office 365 has no implicit TLS: write 587")
    elif settings.tls_mode == "implicit":
        yield _about(settings, "tls_mode", 'Office 365 has no implicit TLS: write "starttls"')


def _shared(listed: Iterable[EffectiveSettings]) -> Iterator[Problem]:
    """One mailbox behind several users: each has the mailbox's limits, so together they pass them."""
    sharing: dict[tuple[str, str], dict[str, EffectiveSettings]] = defaultdict(dict)
    for each in listed:
        office = by_office365(each)
        logs_in = each.transport == "smtp" and each.authorisation != "none" and each.username
        if (office or logs_in) and _limited(each):
            provider = "office365" if office else each.server
            sharing[provider, each.mailbox.casefold()].setdefault(each.account, each)
    for (_, mailbox), accounts in sharing.items():
        if mailbox and len(accounts) > 1:
            (_, first), *others = sorted(accounts.items())
            names = ", ".join(account for account, _ in others[:_NAMED])
            more = " and others" if others[_NAMED:] else ""
            what = (
                f"also the mailbox of {names}{more}: the mailbox's limits are kept for each user, "
                "so divide them among these users, or let one user send"
            )
            yield _about(first, "username" if first.username else "address", what)


def _limited(settings: EffectiveSettings) -> bool:
    """Whether a limit of the mailbox is in force that others who use it would pass."""
    return any(getattr(settings, name) is not None for name in _KEPT_FOR_EACH_USER)


def _about(settings: EffectiveSettings, name: str, what: str) -> Problem:
    """One line on a value in force, at the file that sets it, or where the server is chosen."""
    written = settings.provenance[name]
    file = written.file or settings.provenance["server_address"].file or ""
    user = settings.user if written.key.startswith("email.") else None
    value: Any = shown(KEYS[written.key], getattr(settings, name))
    return Problem(settings.context, user, file, written.key, f"{value}: {what}")
