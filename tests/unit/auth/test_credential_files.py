"""The certificate's file, and how long an authority wants to be left alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from tests.support.registrations import app
from tests.support.self_signed import self_signed
from worker.auth.ends import certificate_end
from worker.auth.failures import Unfit
from worker.auth.grants import read_pem
from worker.auth.session import retry_after_seconds

if TYPE_CHECKING:
    from pathlib import Path

MADE = self_signed("postmeter")
KEY, CERTIFICATE = (
    part + b"-----\n" for part in MADE.pem.rstrip(b"\n-").split(b"-----\n-----BEGIN C")
)
CERTIFICATE = b"-----BEGIN C" + CERTIFICATE


@pytest.mark.parametrize(
    "content",
    [
        KEY + CERTIFICATE,
        CERTIFICATE + KEY,
        b"Bag Attributes\n" + KEY + b"issuer=/CN=x\n" + CERTIFICATE,
    ],
    ids=["key first", "certificate first", "as openssl pkcs12 writes it"],
)
def test_key_and_certificate_come_in_any_order(tmp_path: Path, content: bytes) -> None:
    """One PEM file has both, and perhaps words between them."""
    path = tmp_path / "app.pem"
    path.write_bytes(content)
    key, certificate = read_pem(app(certificate_file=path))
    assert key.encode() == KEY.strip()
    assert certificate.encode() == CERTIFICATE.strip()
    assert certificate_end(path) == MADE.certificate.not_valid_after_utc.timestamp()


def _other_key(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, password: bytes) -> bytes:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (CERTIFICATE, "has no private key in PEM form"),
        (KEY, "has no certificate in PEM form"),
        (b"\xff\xfe", "it is not UTF-8 text"),
        (None, "No such file"),
        (
            KEY + b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "cannot be read",
        ),
        (_other_key(rsa.generate_private_key(65537, 2048), b"x") + CERTIFICATE, "has a password"),
        (_other_key(ec.generate_private_key(ec.SECP256R1()), b"") + CERTIFICATE, "no RSA key"),
        (KEY.replace(b"MII", b"AAA", 1) + CERTIFICATE, "private key in .* cannot be read"),
    ],
)
def test_a_file_that_does_not_fit_is_named(
    tmp_path: Path, content: bytes | None, words: str
) -> None:
    """The sentence has the file, the key of the settings, and what is missing."""
    path = tmp_path / "app.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Unfit, match=words) as caught:
        read_pem(app(certificate_file=path))
    assert str(path) in str(caught.value)
    assert "[microsoft_365]" in str(caught.value)
    assert "PRIVATE" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        ("1.5", 1.5),
        ("Fri, 15 Jan 2027 08:01:00 GMT", 60.0),
        ("Fri, 15 Jan 2027 07:00:00 GMT", 0.0),
        ("soon", None),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    """Both forms of RFC 9110; what is neither is no wish."""
    assert retry_after_seconds(value, 1_800_000_000.0) == seconds
