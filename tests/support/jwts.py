"""Access tokens as Entra issues them (RS256 JWTs), minted with a key made for the test run.

::

    minter = make_minter(issuer="https://localhost:8443/tenant/v2.0")
    minter.public_pem                 # bytes, for Dovecot's keys/default/RS256/<minter.kid>
    minter.mint(upn="jane@acme.test")                       # good for an hour
    minter.mint(upn="jane@acme.test", length=2500)          # 2,500 to 2,502 characters
    minter.mint(upn="jane@acme.test", lifetime_seconds=-60)  # expired
    minter.mint(upn="jane@acme.test", iss="https://elsewhere.test/")  # any claim, replaced
    minter.claims(token)              # checks the signature, returns the payload

The key has 1,024 bits, so that a token can be as short as 500 characters; its signature is no less
real for that.
"""

from __future__ import annotations

import base64
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

if TYPE_CHECKING:
    from collections.abc import Callable

ISSUER: Final = "https://localhost:8443/tenant/v2.0"


def _packed(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def unpacked(part: str) -> Any:
    """Decode one part of a JWT that is JSON."""
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


@dataclass(frozen=True, slots=True, repr=False)
class Minter:
    """A key and an issuer; ``public_pem`` is what a server checks its tokens with.

    Attributes:
        kid: the name of the key in a token's header.
        now: the time, in Unix seconds.
    """

    key: rsa.RSAPrivateKey
    issuer: str = ISSUER
    kid: str = "default"
    now: Callable[[], float] = time.time

    @property
    def public_pem(self) -> bytes:
        """The public key (SubjectPublicKeyInfo)."""
        return self.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def mint(
        self,
        *,
        upn: str | None = None,
        lifetime_seconds: float = 3600,
        length: int = 0,
        kid: str | None = None,
        **claims: object,
    ) -> str:
        """Sign a token.

        Args:
            upn: the mailbox it speaks for; None leaves the claim out, as in an app's own tokens.
            length: at least so many characters, at most two more; 0 for no padding.
            claims: further ones, and others in place of those above; None leaves a claim out.
        """
        now = int(self.now())
        payload: dict[str, object] = {
            "sub": "s",
            "iss": self.issuer,
            "iat": now,
            "exp": now + int(lifetime_seconds),
            "upn": upn,
            **claims,
        }
        payload = {name: value for name, value in payload.items() if value is not None}
        token = self._sign(payload, kid)
        if length <= len(token):
            return token
        payload["pad"] = ""
        for size in range(max((length - len(self._sign(payload, kid))) * 3 // 4 - 3, 0), length):
            payload["pad"] = "x" * size
            token = self._sign(payload, kid)
            if len(token) >= length:
                break
        return token

    def claims(self, token: str) -> dict[str, Any]:
        """What a token says.

        Raises:
            InvalidSignature: it is not this key's.
        """
        signed, _, signature = token.rpartition(".")
        self.key.public_key().verify(
            base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4)),
            signed.encode(),
            padding.PKCS1v15(),
            hashes.SHA256(),
        )
        found: dict[str, Any] = unpacked(signed.partition(".")[2])
        return found

    def _sign(self, payload: dict[str, object], kid: str | None) -> str:
        header = {"typ": "JWT", "alg": "RS256", "kid": kid or self.kid}
        parts = (json.dumps(part, separators=(",", ":")).encode() for part in (header, payload))
        signed = b".".join(_packed(part) for part in parts)
        signature = self.key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
        return (signed + b"." + _packed(signature)).decode()


def make_minter(issuer: str = ISSUER, *, kid: str = "default") -> Minter:
    """Make a key of its own; a few milliseconds."""
    key = rsa.generate_private_key(65537, 1024)  # noqa: S505 - protects nothing, and is short
    return Minter(key, issuer, kid)
