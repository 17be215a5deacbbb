"""What is held for each way a request for a token fails, and what the sentence says."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.support.authority_server import describe
from tests.support.registrations import app
from tests.support.tokens import oauth_settings
from worker.auth.asking import Asking
from worker.auth.failures import Refusal, SignedOut, Unfit, held
from worker.auth.session import Busy, NoJson

if TYPE_CHECKING:
    from worker.errors import Held

APP = "credential:_app/app-1#"
JANE = "credential:acme/jane#"
SERVER = "server:login.microsoftonline.com:443"


def asking(grant: str) -> Asking:
    """A token for SMTP."""
    return Asking.of(oauth_settings(app(grant=grant)), "smtp")


def after(error: str, grant: str, code: int = 50000) -> Held:
    """What is held after the authority's refusal."""
    return held(Refusal(describe(error, code)), asking(grant))


@pytest.mark.parametrize(
    ("grant", "error", "target", "cure"),
    [
        ("client-secret", "invalid_client", APP, "client_secret_file"),
        ("certificate", "invalid_client", APP, "certificate_file"),
        ("client-secret", "unauthorized_client", APP, "check client_id and tenant_id"),
        ("client-secret", "invalid_request", APP, "check tenant_id and client_id"),
        ("client-secret", "invalid_scope", APP, "administrator's consent"),
        ("client-secret", "invalid_resource", APP, "administrator's consent"),
        ("client-secret", "something_new", APP, "client_secret_file"),
        ("managed-identity", "identity_not_found", "credential:_app/app-1#", "assign a managed"),
        ("client-secret", "temporarily_unavailable", SERVER, ""),
        ("client-secret", "server_error", SERVER, ""),
        ("device-code", "slow_down", SERVER, ""),
        ("device-code", "invalid_grant", JANE, "run `postmeter login jane --company acme`"),
        ("device-code", "interaction_required", JANE, "run `postmeter login jane"),
        ("device-code", "authorization_declined", JANE, "run `postmeter login jane"),
        ("device-code", "invalid_client", APP, "public client flows"),
        ("device-code", "unauthorized_client", APP, "check client_id"),
    ],
)
def test_a_refusal_holds_whom_it_concerns(grant: str, error: str, target: str, cure: str) -> None:
    """By OAuth's own word, never by the number; the sentence says where, what, and what to change."""
    found = after(error, grant)
    assert str(found.target).startswith(target)
    assert f"gives no token for SMTP ({error}, AADSTS50000)" in found.reason
    assert cure in found.reason
    assert not found.mail_sent


def test_descriptions_are_not_passed_on() -> None:
    """They hold particulars of the request; so may an ``error`` that is no word."""
    assert "particulars" not in after("invalid_client", "client-secret").reason
    assert "<b>" not in after("<b>secret</b>", "client-secret").reason
    assert "an unknown error" in held(Refusal(None), asking("client-secret")).reason


def ssl_error() -> requests.RequestException:
    """As urllib3 and requests wrap a certificate that is not trusted."""
    inner = ssl.SSLCertVerificationError(1, "certificate verify failed")
    inner.verify_message = "self-signed certificate"
    error = requests.exceptions.SSLError(inner)
    error.__context__ = inner
    return error


def refused_connection() -> requests.RequestException:
    """The same for a connection that is refused."""
    error = requests.ConnectionError("of no use")
    error.__context__ = ConnectionRefusedError(111, "Connection refused")
    return error


def unknown_name() -> requests.RequestException:
    """The same for a name that nobody knows."""
    error = requests.ConnectionError("of no use")
    error.__context__ = socket.gaierror(-2, "Name or service not known")
    return error


@pytest.mark.parametrize(
    ("error", "words", "wish"),
    [
        (Busy(503, 30.0), "HTTP 503", 30.0),
        (Busy(500, None), "HTTP 500", None),
        (NoJson(200), "a proxy or another server", None),
        (requests.ReadTimeout("t"), "within 20 s", None),
        (requests.ConnectTimeout("t"), "within 20 s", None),
        (ssl_error(), "not trusted (self-signed certificate): name its authority in ca_file", None),
        (refused_connection(), "cannot be reached for a token (Connection refused)", None),
        (unknown_name(), "cannot be reached for a token (Name or service not known)", None),
        (requests.ConnectionError("cut"), "ends the connection", None),
    ],
)
def test_an_authority_that_does_not_work_is_a_server(
    error: Exception, words: str, wish: float | None
) -> None:
    """It is held as one, for everybody who needs it, for as long as it asks for."""
    found = held(error, asking("client-secret"))
    assert str(found.target) == SERVER
    assert words in found.reason
    assert found.retry_after_seconds == wish


@pytest.mark.parametrize("grant", ["client-secret", "device-code", "managed-identity"])
def test_throttling_holds_the_app_alone(grant: str) -> None:
    """429 is said to this app of this tenant: no other company's tokens are any worse for it."""
    found = held(Busy(429, 30.0), asking(grant))
    assert str(found.target) == f"credential:{app(grant=grant).key}"
    assert "HTTP 429: it throttles this app registration" in found.reason
    assert found.retry_after_seconds == 30.0


def test_a_managed_identity_has_no_server() -> None:
    """Each machine has an endpoint of its own: what is held is the identity."""
    found = held(refused_connection(), asking("managed-identity"))
    assert str(found.target).startswith(APP)
    assert "the managed identity's endpoint cannot be reached" in found.reason


@pytest.mark.parametrize(
    ("error", "target", "words"),
    [
        (SignedOut("nobody has signed in for acme/jane"), JANE, "run `postmeter login jane"),
        (Unfit("certificate_file x has no private key"), APP, "has no private key"),
        (ValueError("the tenant's words: hush"), APP, "check tenant_id"),
        (
            FileNotFoundError(2, "No such file"),
            APP,
            "ca_file of [microsoft_365] cannot be used (No",
        ),
        (ssl.SSLError(136, "[X509: NO_CERTIFICATE_OR_CRL_FOUND] hush"), APP, "(it is no PEM file)"),
        (KeyError("token_endpoint"), APP, "is no authority of this tenant (KeyError)"),
    ],
)
def test_what_is_wrong_here_holds_the_credential(error: Any, target: str, words: str) -> None:
    """Whoever's it is; words of libraries are not passed on."""
    found = held(error, asking("device-code"))
    assert str(found.target).startswith(target)
    assert words in found.reason
    assert "hush" not in found.reason
