"""A token authority on localhost: Entra's addresses, four grants, real signatures, scripted failures.

::

    with Authority(tmp_path) as authority:            # HTTPS, a certificate of its own authority
        authority.url, authority.tenant, authority.ca_file
        authority.client_id, authority.client_secret  # change the secret to let the old one expire
        authority.toml()                              # [microsoft_365] with cloud = "custom"
        authority.new_certificate(tmp_path / "app.pem")  # registers it; for grant = "certificate"
        authority.identity_environ()                  # for grant = "managed-identity"
        authority.approve("jane@acme.test")           # for grant = "device-code": she signs in
        authority.signs_in = "jane@acme.test"         # … as soon as a code is asked for
        authority.minter                              # its key: tests.support.jwts
        authority.upn = "jane@acme.test"              # of an app's own tokens, which have none
        authority.length, authority.lifetime_seconds  # of the tokens issued from now on
        authority.fail(Fault(status=429, retry_after="7"), Fault(cut=True))   # the next requests
        authority.failing = Fault(error="invalid_client", code=7000222)       # until set to None
        authority.polls = [Fault(cut=True)]           # the next questions whether she is done
        authority.grants()                            # "client_credentials", … one for each request

It serves in threads of this process; worker processes reach it like any other server.
"""

from __future__ import annotations

import base64
import itertools
import json
import secrets
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.support.authority_server import DEVICE_GRANT, AuthorityServer, Fault, Refused
from tests.support.certificates import certificates
from tests.support.jwts import Minter, make_minter, unpacked
from tests.support.secrets_watch import secret
from tests.support.self_signed import self_signed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cryptography import x509

_ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass(slots=True)
class SignIn:
    """One device code: ``upn`` is empty until somebody has signed in."""

    scope: str
    upn: str = ""
    denied: bool = False


@dataclass(slots=True)
class Authority:
    """The authority of one tenant, for a ``with`` block; see the module."""

    folder: Path
    tenant: str = "contoso.test"
    client_id: str = "7f6c4a52-6d0e-4c5c-9a43-0a3f0b9c1d2e"
    client_secret: str = "a-secret-that-nobody-must-see"
    identity_header: str = "a-header-that-nobody-must-see"
    upn: str | None = None
    length: int = 0
    lifetime_seconds: float = 3600.0
    refresh_in_seconds: float | None = None
    poll_seconds: int = 1
    signs_in: str = ""
    failing: Fault | None = None
    polls: list[Fault] = field(default_factory=list)
    seen: list[dict[str, str]] = field(default_factory=list)
    issued: list[str] = field(default_factory=list)
    minter: Minter = field(init=False)
    ca_file: Path = field(init=False)
    port: int = field(init=False)
    _server: AuthorityServer = field(init=False)
    _faults: list[Fault] = field(default_factory=list)
    _certificates: list[x509.Certificate] = field(default_factory=list)
    _sign_ins: dict[str, SignIn] = field(default_factory=dict)
    _refresh_tokens: dict[str, str] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __enter__(self) -> Self:
        served = certificates(self.folder / "authority-tls")
        self.ca_file = served.ca_file
        self._server = AuthorityServer(self, served.server_context)
        self.port = self._server.port
        self.minter = make_minter(f"{self.url}/{self.tenant}/v2.0")
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    @property
    def url(self) -> str:
        """Where it is, without the tenant."""
        return f"https://localhost:{self.port}"

    def toml(self, grant: str = "client-secret", **more: str) -> str:
        """``[microsoft_365]`` for this authority; ``more`` adds keys or changes them."""
        keys = {
            "tenant_id": self.tenant,
            "client_id": self.client_id,
            "grant": grant,
            "cloud": "custom",
            "authority_url": self.url,
            "graph_url": "https://localhost:1",
            "smtp_host": "localhost",
            "ca_file": str(self.ca_file),
        }
        if grant == "client-secret":
            keys["client_secret"] = self.client_secret
        lines = [f"{name} = {json.dumps(value)}" for name, value in (keys | more).items()]
        return "\n".join(["[microsoft_365]", *lines, ""])

    def identity_environ(self) -> dict[str, str]:
        """The variables with which Azure's App Service tells of its managed identity."""
        return {
            "IDENTITY_ENDPOINT": f"{self.url}/msi/token",
            "IDENTITY_HEADER": self.identity_header,
        }

    def new_certificate(self, path: Path, *, days: float = 90.0) -> float:
        """Write a key and its certificate to one PEM file and register it; when it ends (Unix)."""
        made = self_signed("postmeter", days=days)
        path.write_bytes(made.pem)
        path.chmod(0o600)
        with self._lock:
            self._certificates.append(made.certificate)
        return made.certificate.not_valid_after_utc.timestamp()

    def approve(self, upn: str, user_code: str = "") -> None:
        """Let a person sign in with a code; left out, with the last one that was shown."""
        with self._lock:
            self._sign_ins[user_code or list(self._sign_ins)[-1]].upn = upn

    def decline(self) -> None:
        """Let a person refuse the last code."""
        with self._lock:
            list(self._sign_ins.values())[-1].denied = True

    def revoke(self) -> None:
        """Let every refresh token end."""
        with self._lock:
            self._refresh_tokens.clear()

    def fail(self, *faults: Fault) -> None:
        """Let the next requests for a token fail, one after the other."""
        with self._lock:
            self._faults.extend(faults)

    def grants(self) -> list[str]:
        """The grant of each request for a token so far; a managed identity's is ``identity``."""
        with self._lock:
            return [each["grant_type"] for each in self.seen]

    # What the server asks.

    def note(self, form: dict[str, str]) -> Fault | None:
        """Count a request for a token; how it is to fail."""
        with self._lock:
            self.seen.append(form)
            if form.get("grant_type") == DEVICE_GRANT:
                return self.polls.pop(0) if self.polls else None
            return self._faults.pop(0) if self._faults else self.failing

    def discovery(self, tenant: str) -> dict[str, Any]:
        """The document at ``.well-known/openid-configuration``."""
        if tenant != self.tenant:
            raise Refused("invalid_tenant", 90002)
        base = f"{self.url}/{tenant}"
        return {
            "issuer": f"{base}/v2.0",
            "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
            "token_endpoint": f"{base}/oauth2/v2.0/token",
            "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
        }

    def device_code(self, form: dict[str, str]) -> dict[str, Any]:
        """Start a sign-in."""
        if form.get("client_id") != self.client_id:
            raise Refused("unauthorized_client", 700016)
        with self._lock:
            code = secrets.token_hex(4).upper()
            self._sign_ins[code] = SignIn(form["scope"], self.signs_in)
        return {
            "user_code": code,
            "device_code": f"device-{code}",
            "verification_uri": f"{self.url}/device",
            "expires_in": 900,
            "interval": self.poll_seconds,
            "message": f"open {self.url}/device and enter {code}",
        }

    def token(self, form: dict[str, str]) -> dict[str, Any]:
        """Answer a request for a token."""
        match form.get("grant_type"):
            case "client_credentials":
                self._authenticate(form)
                return self._issue(form["scope"], upn=self.upn, appid=self.client_id)
            case "refresh_token":
                with self._lock:
                    upn = self._refresh_tokens.get(form["refresh_token"])
                if upn is None:
                    raise Refused("invalid_grant", 700082)
                return self._issue_for(upn, form["scope"])
            case grant if grant == DEVICE_GRANT:
                with self._lock:
                    sign_in = self._sign_ins.get(form["device_code"].removeprefix("device-"))
                if sign_in is None:
                    raise Refused("expired_token")
                if sign_in.denied:
                    raise Refused("authorization_declined")
                if not sign_in.upn:
                    raise Refused("authorization_pending", 70016)
                return self._issue_for(sign_in.upn, sign_in.scope)
        raise Refused("unsupported_grant_type")

    def identity(self, query: dict[str, str], header: str | None) -> dict[str, Any]:
        """Answer a managed identity's request, as App Service does."""
        if header != self.identity_header:
            raise Refused("unauthorized", status=401)
        made = self._issue(query["resource"], upn=self.upn, appid=query.get("client_id", "system"))
        expires_on = str(int(time.time() + self.lifetime_seconds))
        return {"access_token": made["access_token"], "expires_on": expires_on, "resource": ""}

    def _authenticate(self, form: dict[str, str]) -> None:
        if form.get("client_id") != self.client_id:
            raise Refused("unauthorized_client", 700016)
        if form.get("client_assertion_type") == _ASSERTION:
            self._check_assertion(form["client_assertion"])
        elif form.get("client_secret") != self.client_secret:
            raise Refused("invalid_client", 7000215, status=401)

    def _check_assertion(self, assertion: str) -> None:
        """RFC 7523, signed as Entra wants it: PS256, the certificate named by its SHA-256."""
        signed, _, signature = assertion.rpartition(".")
        header, claims = (unpacked(part) for part in signed.split("."))
        named = base64.urlsafe_b64decode(header["x5t#S256"] + "==")
        with self._lock:
            known = {each.fingerprint(hashes.SHA256()): each for each in self._certificates}
        if header["alg"] != "PS256" or named not in known:
            raise Refused("invalid_client", 700027, status=401)
        key = known[named].public_key()
        assert isinstance(key, rsa.RSAPublicKey)
        key.verify(
            base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4)),
            signed.encode(),
            padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH),
            hashes.SHA256(),
        )
        endpoint = self.discovery(self.tenant)["token_endpoint"]
        expected = {"iss": self.client_id, "sub": self.client_id, "aud": endpoint}
        if expected.items() - claims.items() or claims["exp"] < time.time():
            raise Refused("invalid_client", 700024, status=401)

    def _issue_for(self, upn: str, scope: str) -> dict[str, Any]:
        """Tokens of a person, with a refresh token and an id token."""
        resources = [each for each in scope.split() if each.startswith("https://")]
        refresh = secret(secrets.token_hex(32))
        with self._lock:
            self._refresh_tokens[refresh] = upn
        now = int(time.time())
        person = {"uid": upn, "utid": self.tenant}
        return {
            **self._issue(resources[0], upn=upn, appid=self.client_id),
            "refresh_token": refresh,
            "scope": scope,
            "id_token": self.minter.mint(
                aud=self.client_id, preferred_username=upn, oid=upn, tid=self.tenant, nbf=now
            ),
            "client_info": base64.urlsafe_b64encode(json.dumps(person).encode()).decode(),
        }

    def _issue(self, scope: str, *, upn: str | None, appid: str) -> dict[str, Any]:
        parts = urlsplit(scope)
        number = next(self._numbers)
        token = self.minter.mint(
            upn=upn,
            lifetime_seconds=self.lifetime_seconds,
            length=self.length,
            aud=f"{parts.scheme}://{parts.netloc}",
            appid=appid,
            uti=number,  # no two tokens are alike
        )
        made: dict[str, Any] = {
            "token_type": "Bearer",
            "expires_in": int(self.lifetime_seconds),
            "access_token": token,
        }
        if self.refresh_in_seconds is not None:
            made["refresh_in"] = int(self.refresh_in_seconds)
        with self._lock:
            self.issued.append(token)
        return made


__all__ = ["Authority", "Fault"]
