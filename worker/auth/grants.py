"""How an application gets a token of its own: by a secret, a certificate, or a managed identity.

Everything here blocks (MSAL uses requests) and runs in a thread. MSAL's own cache of tokens is emptied
before each request: who asks here wants a new one, and the old one is kept elsewhere (``tokens``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import msal
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from worker.auth.failures import Refusal, Unfit
from worker.auth.session import Session

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from config.registration import Registration
    from worker.auth.asking import Asking

UNSAID_SECONDS: Final = 600
"""How long a token lasts whose authority does not say (RFC 6749, 5.1, leaves it free); as in MSAL."""
_PEM: Final = re.compile(r"-----BEGIN ([A-Z ]+)-----.+?-----END \1-----", re.DOTALL)


@dataclass(frozen=True, slots=True, repr=False)
class Fetched:
    """A token, and how long it lasts from now.

    Attributes:
        renew_after_seconds: when the authority wishes it renewed; None where it does not say.
        is_new: whether it was issued just now, and not kept somewhere since.
    """

    value: str
    lifetime_seconds: float
    renew_after_seconds: float | None = None
    is_new: bool = True


class Source(Protocol):
    """Where tokens of one owner come from."""

    def fetch(self, asking: Asking, other_than: str) -> Fetched:
        """Get a token that differs from the one that is known; blocks.

        Raises:
            Exception: whatever ``failures.held`` makes a hold of.
        """


def fetched(result: Mapping[str, Any] | None) -> Fetched:
    """Read what MSAL returns.

    Raises:
        Refusal: it is no token.
    """
    if result is None or "access_token" not in result:
        raise Refusal(result)
    renew = result.get("refresh_in")
    return Fetched(
        value=result["access_token"],
        lifetime_seconds=float(result.get("expires_in", UNSAID_SECONDS)),
        renew_after_seconds=None if renew is None else float(renew),
        is_new=result.get("token_source") != "cache",
    )


class Application:
    """An application with a secret or a certificate; made for one state of its registration.

    Its MSAL object asks the authority for its addresses, so it is made at the first request; after a
    failure the next request makes another: MSAL serves a failure from memory for 60 s.
    """

    def __init__(self, registration: Registration) -> None:
        self._registration = registration
        self._session = Session(registration.ca_file)
        self._app: Any = None

    def fetch(self, asking: Asking, other_than: str) -> Fetched:
        """Ask the authority."""
        del other_than  # every token is a new one
        try:
            if self._app is None:
                self._app = self._make()
            self._app.remove_tokens_for_client()
            return fetched(self._app.acquire_token_for_client(asking.scopes))
        except Exception:
            self._app = None
            raise
        finally:
            self._session.close()  # until the next request is due, a kept connection would be dead

    def _make(self) -> Any:
        registration = self._registration
        credential = self._credential()
        self._session = Session(registration.ca_file)  # the file may have changed
        return msal.ConfidentialClientApplication(
            registration.client_id,
            client_credential=credential,
            authority=authority_of(registration),
            instance_discovery=False,
            http_client=self._session,
            http_cache={},
        )

    def _credential(self) -> str | dict[str, str]:
        registration = self._registration
        if registration.grant == "client-secret":
            assert registration.client_secret is not None, "the settings say so"
            return registration.client_secret.get_secret_value()
        key, certificate = read_pem(registration)
        return {"private_key": key, "public_certificate": certificate}


class ManagedIdentity:
    """The identity that Azure gives this machine; where it is asked, the environment says."""

    def __init__(self, registration: Registration) -> None:
        self._registration = registration

    def fetch(self, asking: Asking, other_than: str) -> Fetched:
        """Ask the machine's endpoint."""
        del other_than  # every token is a new one
        client_id = self._registration.client_id
        identity = (
            msal.UserAssignedManagedIdentity(client_id=client_id)
            if client_id
            else msal.SystemAssignedManagedIdentity()
        )
        # The endpoint is this machine's own: a proxy would be asked for its own identity.
        with Session(self._registration.ca_file, by_proxy=False) as session:
            client = msal.ManagedIdentityClient(identity, http_client=session)
            return fetched(client.acquire_token_for_client(resource=asking.address))


def authority_of(registration: Registration) -> str:
    """The authority of the registration's tenant."""
    return f"{registration.authority_url}/{registration.tenant_id}"


def read_pem(registration: Registration) -> tuple[str, str]:
    """Read the private key and the certificates.

    Raises:
        Unfit: the file has not both in PEM form, or a key that MSAL cannot use.
    """
    path = registration.certificate_file
    try:
        text = path.read_text("utf-8") if path is not None else ""
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise Unfit(f"cannot read certificate_file {path} of [microsoft_365] ({why})") from None
    parts = [(found[1], found[0]) for found in _PEM.finditer(text)]
    keys = [part for kind, part in parts if kind.endswith("PRIVATE KEY")]
    certificates = [part for kind, part in parts if kind == "CERTIFICATE"]
    if not keys or not certificates:
        missing = "private key" if not keys else "certificate"
        raise Unfit(f"certificate_file {path} of [microsoft_365] has no {missing} in PEM form")
    _check_key(keys[0], path)
    try:
        x509.load_pem_x509_certificate(certificates[0].encode())
    except ValueError:
        raise Unfit(f"the certificate in {path} of [microsoft_365] cannot be read") from None
    return keys[0], "\n".join(certificates)


def _check_key(key: str, path: Path | None) -> None:
    """Say here what MSAL would say as if it were the authority's fault."""
    try:
        fit = isinstance(load_pem_private_key(key.encode(), None), RSAPrivateKey)
    except TypeError:
        raise Unfit(
            f"the private key in {path} of [microsoft_365] has a password: write it without one"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise Unfit(f"the private key in {path} of [microsoft_365] cannot be read") from None
    if not fit:
        raise Unfit(f"the private key in {path} of [microsoft_365] is no RSA key: Entra wants one")
