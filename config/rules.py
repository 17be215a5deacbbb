"""Rules between keys: what contradicts another key, and what works but should be known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from config.availability import held
from config.context import KEYS, Context
from config.errors import Problem
from config.layer import shown
from config.office365 import MAILBOX_EMAILS_PER_MIN, SMTP_HOSTS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from config.context import Picked
    from config.layer import Layer, Written

_CHOICES: Final = ("compose", "send_batch", "send_mailer")
_IMPLICIT_PORT: Final = 465
_GRANT_NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "client-secret": ("tenant_id", "client_id", "client_secret"),
    "certificate": ("tenant_id", "client_id", "certificate_file"),
    "managed-identity": (),
    "device-code": ("tenant_id", "client_id"),
}
_CLOUD_NEEDS: Final = ("authority_url", "graph_url", "smtp_host")


def registered(context: Context) -> bool:
    """Whether Microsoft 365 knows the context's application."""
    grant = context.values["microsoft_365.grant"]
    written = any(
        picked.written.layer != "default"
        for dotted, picked in context.values.items()
        if dotted.startswith("microsoft_365.")
    )
    return written and all(context[f"microsoft_365.{name}"] for name in _GRANT_NEEDS[grant.value])


def errors(context: Context) -> Iterator[Problem]:
    """What contradicts itself in a context."""
    values = context.values
    server, security = values["smtp.server_address"], values["smtp.transport_security"]
    if server.value is not None and security.value is None:
        one_of = ", ".join(KEYS["smtp.transport_security"].choices)
        what = f"missing, and server_address is written: write one of {one_of}"
        yield _at(context, server.written, "smtp.transport_security", what)
    if security.value == "none":
        yield from _without_tls(context)
    if context["smtp.authentication_model"] == "oauth2":
        yield from oauth2_errors(context, values)
    for name in _CHOICES:
        choice = values[f"mail_options.{name}"].written
        if choice.layer != "default" and choice.value == "smtp" and server.value is None:
            yield _about(context, choice, "needs smtp.server_address, which is not written")
        if choice.value == "microsoft-365" and not context["web.allow_microsoft_365"]:
            yield microsoft_365_off(context, choice, None)
    yield from _registration(context)


def user_errors(context: Context, user: Layer) -> Iterator[Problem]:
    """What a user's file has that the context does not allow, even where its gate is closed."""
    for name in _CHOICES:
        for choice in user.values.get(f"email.{name}", ())[:1]:
            if choice.value == "microsoft-365" and not context["web.allow_microsoft_365"]:
                yield microsoft_365_off(context, choice, user.place.user)


def microsoft_365_off(context: Context, choice: Written, user: str | None) -> Problem:
    """The one line for a choice of Microsoft 365 where it is not allowed; names both keys."""
    off = context.values["web.allow_microsoft_365"].written
    where = off.file or context.own.place.file
    what = f'"microsoft-365" needs web.allow_microsoft_365 = true in {where}'
    return Problem(context.id, user, choice.file or context.own.place.file, choice.key, what)


def oauth2_errors(context: Context, values: Mapping[str, Picked]) -> Iterator[Problem]:
    """What cannot go with OAuth2 (reference: Exchange Online takes STARTTLS with TLS 1.2 up)."""
    wrong: dict[str, tuple[set[Any], str]] = {
        "smtp.authorisation": ({"none", "optional"}, 'needs "required"'),
        "smtp.transport_security": (
            {"none", "tls1.0", "tls1.1"},
            'needs "tls", "tls1.2" or "tls1.3"',
        ),
        "smtp.port": ({_IMPLICIT_PORT}, "needs STARTTLS: write 587"),
    }
    for dotted, (refused, what) in wrong.items():
        written = values[dotted].written
        if written.value in refused:
            yield _about(context, written, f"authentication_model = oauth2 {what}")


def warnings(context: Context) -> Iterator[Problem]:
    """What works in a context but should be known."""
    values = context.values
    for dotted, dangerous, what in (
        ("tls.verify", False, "anyone on the way can read mail and password"),
        ("smtp.allow_cleartext_password", True, "passwords may cross the network readable"),
        ("smtp.transport_security", "tls1.0", "broken since 2011; use it for old devices only"),
        ("smtp.transport_security", "tls1.1", "broken since 2011; use it for old devices only"),
    ):
        written = values[dotted].written
        if written.value == dangerous and written.layer != "default":
            yield _about(context, written, what)
    if context["smtp.authentication_model"] == "oauth2":
        server, rate = values["smtp.server_address"], values["smtp.batch_emails_per_min"]
        if server.value not in {*SMTP_HOSTS.values(), context["microsoft_365.smtp_host"]}:
            yield _about(context, server.written, "oauth2 is for Office 365; this host is not its")
        if rate.value is not None and rate.value > MAILBOX_EMAILS_PER_MIN:
            what = f"Office 365 takes {MAILBOX_EMAILS_PER_MIN} a minute from one mailbox"
            yield _about(context, rate.written, what)


def default_user_warnings(context: Context, users: Collection[str]) -> Iterator[Problem]:
    """A default user who is not there (yet): jobs without a user would not find anyone."""
    written = context.values["smtp.default_user"].written
    if written.value is not None and written.value not in users:
        yield _about(context, written, f"{context.id} has no such user")


def user_warnings(context: Context, user: Layer) -> Iterator[Problem]:
    """What works for a user but should be known."""
    models = [each.value for each in user.values.get("email.authentication_model", ())[:1]]
    oauth2 = "oauth2" in {*models, context["smtp.authentication_model"]}
    for rate in user.values.get("email.mailbox_emails_per_min", ())[:1]:
        if oauth2 and rate.value > MAILBOX_EMAILS_PER_MIN:
            what = f"Office 365 takes {MAILBOX_EMAILS_PER_MIN} a minute from one mailbox"
            yield user.place.problem(rate.key, f"{rate.value}: {what}", file=rate.file)
    needed = {"required": ("username", "password"), "optional": ("username",), "none": ()}
    if context["smtp.server_address"] and context["smtp.authentication_model"] == "basic":
        authorisation = context["smtp.authorisation"]
        for name in needed[authorisation]:
            if f"email.{name}" not in user.values:
                what = f'missing, and smtp.authorisation is "{authorisation}": the account is held'
                yield user.place.problem(f"email.{name}", what)


def held_values(context: Context) -> Iterator[Problem]:
    """The written values that this version accepts but cannot serve."""
    for picked in context.values.values():
        written = picked.written
        if written.layer != "default":
            yield from _held(context.id, None, written)


def user_held_values(user: Layer) -> Iterator[Problem]:
    """The same for a user's file."""
    for chain in user.values.values():
        yield from _held(user.place.context, user.place.user, chain[0])


def _held(context: str, user: str | None, written: Written) -> Iterator[Problem]:
    sentence = held(written.key.rpartition(".")[2], written.value)
    if sentence is not None:
        yield Problem(context, user, written.file, written.key, sentence)


def _without_tls(context: Context) -> Iterator[Problem]:
    values = context.values
    login, mode = values["smtp.authorisation"].written, values["smtp.tls_mode"].written
    basic = context["smtp.authentication_model"] == "basic"
    if basic and login.value != "none" and not context["smtp.allow_cleartext_password"]:
        what = (
            "transport_security = none would send passwords readable: choose another, or "
            "write allow_cleartext_password = true"
        )
        yield _about(context, login, what)
    if mode.value != "auto":
        yield _about(context, mode, "transport_security = none has no TLS: write auto")


def _registration(context: Context) -> Iterator[Problem]:
    """What is missing of an app registration that was begun."""
    table = {
        dotted.rpartition(".")[2]: picked
        for dotted, picked in context.values.items()
        if dotted.startswith("microsoft_365.")
    }
    written = [picked.written for picked in table.values() if picked.written.layer != "default"]
    grant, cloud = table["grant"].value, table["cloud"].value
    needed = [(name, f"grant = {grant}") for name in _GRANT_NEEDS[grant]]
    needed += [(name, "cloud = custom") for name in _CLOUD_NEEDS if cloud == "custom"]
    for name, reason in needed:
        if written and not table[name].value:
            yield _at(context, written[0], f"microsoft_365.{name}", f"missing: {reason} needs it")


def _about(context: Context, written: Written, what: str) -> Problem:
    value: Any = shown(KEYS[written.key], written.value)
    return _at(context, written, written.key, f"{value}: {what}")


def _at(context: Context, written: Written, key: str, what: str) -> Problem:
    return Problem(context.id, None, written.file or context.own.place.file, key, what)
