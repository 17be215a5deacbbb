"""Rules between keys: what contradicts another key, and which values are held."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from config.availability import held
from config.context import KEYS, Context
from config.errors import Problem
from config.layer import shown
from config.office365 import is_of_the_registration

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

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
_WRITTEN_AS: Final = {"client_secret": "client_secret_file"}
"""The key that is better written than the one that must have a value."""


def registered(context: Context) -> bool:
    """Whether Microsoft 365 knows the context's application."""
    return bool(_written(context)) and not _missing(context)


def _written(context: Context) -> list[Written]:
    """What is written of an app registration."""
    picked = (each for dotted, each in context.values.items() if is_of_the_registration(dotted))
    return [each.written for each in picked if each.written.layer != "default"]


def _missing(context: Context) -> dict[str, str]:
    """The keys that an app registration lacks, each with the value that needs it."""
    grant, cloud = context["microsoft_365.grant"], context["microsoft_365.cloud"]
    needed = dict.fromkeys(_GRANT_NEEDS[grant], f"grant = {grant}")
    if cloud == "custom":
        needed |= dict.fromkeys(_CLOUD_NEEDS, "cloud = custom")
    return {name: why for name, why in needed.items() if not context[f"microsoft_365.{name}"]}


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
    model = values["smtp.authentication_model"].written
    if model.value == "oauth2":
        yield from oauth2_errors(context, values)
        yield from _never_registered(context, model)
    for name in _CHOICES:
        choice = values[f"mail_options.{name}"].written
        if choice.layer != "default" and choice.value == "smtp" and server.value is None:
            yield about(context, choice, "needs smtp.server_address, which is not written")
        if choice.value == "microsoft-365":
            yield from _microsoft_365(context, choice)
    unknown = values["delivery.on_unknown"].written
    if unknown.value == "verify":  # it looks in Sent Items, which only Graph can
        yield from _microsoft_365(context, unknown)
    uncarried = values["microsoft_365.uncarried"].written
    if uncarried.value == "smtp" and server.value is None:
        yield about(context, uncarried, "needs smtp.server_address, which is not written")
    yield from _registration(context)


def _registration(context: Context) -> Iterator[Problem]:
    """What is missing of an app registration that was begun."""
    for written in _written(context)[:1]:
        for name, reason in _missing(context).items():
            yield _at(context, written, f"microsoft_365.{name}", f"missing: {reason} needs it")


def user_errors(context: Context, user: Layer) -> Iterator[Problem]:
    """What a user's file has that the context does not allow, even where its gate is closed."""
    name = user.place.user
    for option in _CHOICES:
        gate = context[f"mail_options.{option}_allow_user_selection"]
        for choice in user.values.get(f"email.{option}", ())[:1]:
            if choice.value == "microsoft-365" and not context["web.allow_microsoft_365"]:
                yield microsoft_365_off(context, choice, name)
            elif choice.value == "microsoft-365" and gate and not registered(context):
                yield unregistered(context, choice, name)
    if context["smtp.authentication_model"] == "oauth2" or not context["smtp.allow_user_override"]:
        return
    for model in user.values.get("email.authentication_model", ())[:1]:
        if model.value == "oauth2":
            for problem in oauth2_errors(context, context.with_oauth2_by(model)):
                yield replace(problem, user=name)
            if not registered(context):
                yield unregistered(context, model, name)


def microsoft_365_off(context: Context, choice: Written, user: str | None) -> Problem:
    """The one line for what needs Microsoft 365 where it is not allowed; names both keys."""
    off = context.values["web.allow_microsoft_365"].written
    where = off.file or context.own.place.file
    return _needs(context, choice, user, f"web.allow_microsoft_365 = true in {where}")


def unregistered(context: Context, choice: Written, user: str | None) -> Problem:
    """The one line for what needs an app registration where there is none; names what is missing."""
    *most, last = (_WRITTEN_AS.get(name, name) for name in _missing(context))
    names = f"{', '.join(most)} and {last}" if most else last
    what = f"{names} of [microsoft_365] in {context.own.place.file}"
    return _needs(context, choice, user, what)


def _needs(context: Context, choice: Written, user: str | None, what: str) -> Problem:
    file = choice.file or context.own.place.file
    return Problem(context.id, user, file, choice.key, f'"{choice.value}" needs {what}')


def _microsoft_365(context: Context, choice: Written) -> Iterator[Problem]:
    """What a choice that goes through Graph lacks."""
    if not context["web.allow_microsoft_365"]:
        yield microsoft_365_off(context, choice, None)
    else:
        yield from _never_registered(context, choice)


def _never_registered(context: Context, choice: Written) -> Iterator[Problem]:
    """An app registration that was not even begun; of one that was, what is missing is named."""
    if not _written(context):
        yield unregistered(context, choice, None)


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
            yield about(context, written, f"authentication_model = oauth2 {what}")


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
        yield about(context, login, what)
    if mode.value != "auto":
        yield about(context, mode, "transport_security = none has no TLS: write auto")


def about(context: Context, written: Written, what: str) -> Problem:
    """One line on a value of a context: file, key, value, and what is to be said of it."""
    value: Any = shown(KEYS[written.key], written.value)
    return _at(context, written, written.key, f"{value}: {what}")


def _at(context: Context, written: Written, key: str, what: str) -> Problem:
    return Problem(context.id, None, written.file or context.own.place.file, key, what)
