"""From what went wrong with a token to what is held, and to a sentence that says what to change.

The errors are OAuth's own words (RFC 6749, 5.2; RFC 8628, 3.5), never AADSTS numbers: Microsoft changes
those (learn.microsoft.com/entra/identity-platform/reference-error-codes). The number stands in the
sentence for who looks it up; the description does not, it has particulars of the request.
"""

from __future__ import annotations

import re
import ssl
from typing import TYPE_CHECKING, Any, Final

import requests

from worker.auth.asking import NAMES
from worker.auth.sealing import Unreadable
from worker.auth.session import READ_SECONDS, TOO_MANY, Busy, NoJson
from worker.errors import Held
from worker.outcome import HoldTarget, TargetKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from worker.auth.asking import Asking

_LATER: Final = frozenset({"temporarily_unavailable", "server_error", "slow_down"})
_APP: Final = frozenset(
    {"invalid_client", "unauthorized_client", "invalid_request", "invalid_scope"}
)
"""The application's fault also where a person has signed in."""
_NUMBER: Final = re.compile(r"AADSTS\d+")
_WORD: Final = re.compile(r"[a-z_]{1,60}")
_CURES: Final[Mapping[str, str]] = {
    "unauthorized_client": "check client_id and tenant_id of [microsoft_365], and that the app"
    " registration allows this grant",
    "invalid_request": "check tenant_id and client_id of [microsoft_365]",
    "invalid_tenant": "check tenant_id of [microsoft_365]",
    "invalid_scope": "give the app registration the permission, with an administrator's consent",
    "invalid_resource": "give the app registration the permission, with an administrator's consent",
}
_CREDENTIALS: Final[Mapping[str, str]] = {
    "client-secret": "put a client secret that is valid in client_secret_file of [microsoft_365]",
    "certificate": "register the certificate of certificate_file with the app, or a new one",
    "managed-identity": "assign a managed identity with the permission to this machine, or choose"
    " another grant",
    "device-code": "let the app registration allow public client flows",
}


class Refusal(Exception):
    """What MSAL returned in place of a token: ``result`` has OAuth's ``error``."""

    def __init__(self, result: Mapping[str, Any] | None) -> None:
        super().__init__("no token")
        self.result: Mapping[str, Any] = result or {}


class Unfit(Exception):
    """What MSAL is to be given is wrong here already: a file, an address. The text is a sentence."""


class SignedOut(Exception):
    """Nobody has signed in for the account, or not for every worker; the text says so."""


EXPECTED: Final = (requests.RequestException, Refusal, SignedOut, Unfit, ValueError)
"""What goes wrong outside of this worker; MSAL's word for an unknown tenant is ValueError."""


def held(error: Exception, asking: Asking) -> Held:
    """Say what is held, and why."""
    if isinstance(error, Refusal):
        return _refused(error.result, asking)
    if isinstance(error, requests.RequestException):
        return _unreachable(error, asking)
    if isinstance(error, SignedOut):
        return _on_credential(asking.credential, f"{error}: run `{asking.command}`")
    if isinstance(error, Unreadable | Unfit):
        key = asking.registration.key if isinstance(error, Unfit) else asking.credential
        return _on_credential(key, str(error))
    if isinstance(error, OSError):  # of files, only this one is read without a word of its own
        why = "it is no PEM file" if isinstance(error, ssl.SSLError) else error.strerror
        fault = f"ca_file of [microsoft_365] cannot be used ({why})"
        return _on_credential(asking.registration.key, fault)
    # MSAL's own words may quote the request.
    fault = f"{_where(asking)} is no authority of this tenant ({type(error).__name__})"
    cure = "check tenant_id, and authority_url where there is one, of [microsoft_365]"
    return _on_credential(asking.registration.key, f"{fault}: {cure}")


def words_of(result: Mapping[str, Any]) -> str:
    """Name an error: ``invalid_client, AADSTS7000222``; nothing else of what came is passed on."""
    name = str(result.get("error") or "")
    number = _NUMBER.search(str(result.get("error_description") or ""))
    words = name if _WORD.fullmatch(name) else "an unknown error"
    return f"{words}, {number[0]}" if number else words


def _refused(result: Mapping[str, Any], asking: Asking) -> Held:
    name, app = str(result.get("error") or ""), asking.registration
    fault = f"{_where(asking)} gives no token for {NAMES[asking.resource]} ({words_of(result)})"
    if name in _LATER and app.authority_server:
        return Held(fault, target=HoldTarget(TargetKind.SERVER, app.authority_server))
    if asking.by_person and name not in _APP:
        cure = f"run `{asking.command}`, and consent to what is asked for"
        return _on_credential(asking.credential, f"{fault}: {cure}")
    cure = _CREDENTIALS[app.grant]
    if app.grant != "managed-identity":  # of whose errors MSAL makes one
        cure = _CURES.get(name, cure)
    return _on_credential(app.key, f"{fault}: {cure}")


def _on_credential(key: str, reason: str) -> Held:
    return Held(reason, target=HoldTarget(TargetKind.CREDENTIAL, key))


def _where(asking: Asking) -> str:
    return asking.registration.authority_server or "the managed identity's endpoint"


def _unreachable(error: requests.RequestException, asking: Asking) -> Held:
    where, app = _where(asking), asking.registration
    wish, throttled = None, False
    if isinstance(error, Busy):
        reason = f"{where} answers a request for a token with HTTP {error.status}"
        wish, throttled = error.retry_after_seconds, error.status == TOO_MANY
        if throttled:
            reason += ": it throttles this app registration"
    elif isinstance(error, NoJson):
        reason = (
            f"{where} answers a request for a token with HTTP {error.status} and a page: a proxy or"
            " another server answers in its place"
        )
    elif isinstance(error, requests.exceptions.ProxyError):
        reason = (
            f"{where} cannot be reached by the proxy that HTTPS_PROXY names: set it, or NO_PROXY"
        )
    elif isinstance(error, requests.Timeout):
        reason = f"{where} gives no token within {READ_SECONDS:g} s: is it reachable from here?"
    else:
        reason = _broken(error, where)
    # Throttled is one app of one tenant. And of managed identities each host has an endpoint of its
    # own: no server to hold for all.
    if throttled or not app.authority_server:
        key = HoldTarget(TargetKind.CREDENTIAL, app.key)
        return Held(reason, target=key, retry_after_seconds=wish)
    server = HoldTarget(TargetKind.SERVER, app.authority_server)
    return Held(reason, target=server, retry_after_seconds=wish)


def _broken(error: BaseException, where: str) -> str:
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return (
                f"{where} shows a certificate that is not trusted ({cause.verify_message}): name"
                " its authority in ca_file of [microsoft_365], or in the system's store"
            )
    for cause in reversed(causes):
        if isinstance(cause, OSError) and cause.strerror and not isinstance(cause, ssl.SSLError):
            return f"{where} cannot be reached for a token ({cause.strerror})"
    kind = next((type(each).__name__ for each in causes if isinstance(each, ssl.SSLError)), "")
    return f"{where} ends the connection before it gives a token" + (f" ({kind})" if kind else "")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and everything behind it; urllib3 keeps some only as ``reason`` or arguments."""
    seen: list[BaseException] = []
    left: list[object] = [error]
    while left:
        each = left.pop(0)
        if not isinstance(each, BaseException) or each in seen:
            continue
        seen.append(each)
        yield each
        left += [each.__cause__, each.__context__, getattr(each, "reason", None), *each.args]
