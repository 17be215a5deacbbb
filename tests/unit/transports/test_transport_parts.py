"""The small parts of the SMTP transport that need no connection."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

import pytest

from tests.support.certificates import certificates
from tests.support.deliveries import Begun, make_mail
from tests.support.settings import make_settings
from worker.errors import BeginRefused, Deferred, Held, Rejected
from worker.outcome import RecipientState, Reply, TargetKind
from worker.replies import Stage
from worker.transports.connection import Key
from worker.transports.failures import Party, error_for
from worker.transports.memory import MemoryTransport
from worker.transports.tls import context_for, is_implicit
from worker.transports.transaction import Extensions

if TYPE_CHECKING:
    from pathlib import Path

PARTY = Party("mx:25", "acme/jane", "acme/jane#1")


@pytest.mark.parametrize(
    ("security", "mode", "port", "implicit"),
    [
        ("tls", "auto", 465, True),
        ("tls", "auto", 2465, True),
        ("ssl", "auto", 465, True),
        ("tls", "auto", 587, False),
        ("ssl", "auto", 25, False),
        ("tls1.2", "implicit", 25, True),
        ("tls1.2", "starttls", 465, False),
        ("none", "auto", 465, False),
        ("none", "implicit", 465, False),
    ],
)
def test_where_tls_starts(security: str, mode: str, port: int, implicit: bool) -> None:
    """Auto goes by the port, the others say it, and none has no TLS anywhere."""
    settings = make_settings(transport_security=security, tls_mode=mode, port=port)
    assert is_implicit(settings) is implicit


@pytest.mark.parametrize(
    ("security", "lowest", "highest"),
    [
        ("ssl", ssl.TLSVersion.MINIMUM_SUPPORTED, ssl.TLSVersion.MAXIMUM_SUPPORTED),
        ("tls", ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.MAXIMUM_SUPPORTED),
        ("tls1.0", ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1),
        ("tls1.1", ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_1),
        ("tls1.2", ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2),
        ("tls1.3", ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_3),
    ],
)
def test_context_has_the_versions_asked_for(
    security: str, lowest: ssl.TLSVersion, highest: ssl.TLSVersion
) -> None:
    """Each security has its range, verifies, and is made once."""
    context = context_for(make_settings(transport_security=security))
    assert context is not None
    assert (context.minimum_version, context.maximum_version) == (lowest, highest)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context_for(make_settings(transport_security=security)) is context


def test_the_security_level_is_lowered_for_old_versions_alone() -> None:
    """TLS 1.0 and 1.1 get OpenSSL's level 0; a context made after them has its own level still."""
    levels = {
        security: context_for(make_settings(transport_security=security)).security_level  # type: ignore[union-attr]  # all have a context
        for security in ("tls1.0", "tls1.1", "tls1.2", "ssl", "tls")
    }
    assert levels["tls1.0"] == levels["tls1.1"] == 0
    assert levels["tls1.2"] == levels["ssl"] == levels["tls"] > 0


def test_context_without_security_and_without_verification() -> None:
    """None has no context; turning verification off is the only way to get that."""
    assert context_for(make_settings()) is None
    context = context_for(make_settings(transport_security="tls", verify_certificate=False))
    assert context is not None
    assert context.verify_mode is ssl.CERT_NONE


def test_changed_ca_file_is_read_anew(tmp_path: Path) -> None:
    """A CA file that changes makes another context, one that does not makes none."""
    first = certificates(tmp_path / "a")
    settings = make_settings(transport_security="tls", ca_file=first.ca_file)
    before = context_for(settings)
    assert context_for(settings) is before
    first.ca_file.write_bytes(certificates(tmp_path / "b").ca_file.read_bytes())
    assert context_for(settings) is not before


@pytest.mark.parametrize(
    ("offered", "expected"),
    [
        ({}, Extensions()),
        ({"size": ""}, Extensions(size_offered=True)),
        ({"size": "0"}, Extensions(size_offered=True)),
        ({"size": "many"}, Extensions(size_offered=True)),
        ({"size": "100"}, Extensions(size_offered=True, size=100)),
        (
            {"pipelining": "", "8bitmime": "", "smtputf8": "", "auth": "PLAIN"},
            Extensions(pipelining=True, eight_bit=True, smtputf8=True),
        ),
    ],
)
def test_extensions_are_read(offered: dict[str, str], expected: Extensions) -> None:
    """SIZE without a usable number is no limit (RFC 1870 4)."""
    assert Extensions.parse(offered) == expected


@pytest.mark.parametrize(
    ("reply", "stage", "kind", "target"),
    [
        (Reply(451, "later", "4.3.0"), Stage.MAIL, Deferred, None),
        (Reply(550, "no", "5.7.1"), Stage.MAIL, Rejected, None),
        (Reply(535, "no", "5.7.8"), Stage.AUTH, Held, "credential:acme/jane#1"),
        (
            Reply(432, "Concurrent connections limit exceeded"),
            Stage.MAIL,
            Held,
            "account:acme/jane",
        ),
        (Reply(421, "bye", "4.3.2"), Stage.MAIL, Held, "server:mx:25"),
    ],
)
def test_reply_becomes_an_error(
    reply: Reply, stage: Stage, kind: type[Exception], target: str | None
) -> None:
    """The error keeps the reply; its reason has the codes, never the server's words."""
    error = error_for(reply, stage, PARTY, mail_sent=True)
    assert type(error) is kind
    assert error.reply is reply
    assert str(reply.code) in error.reason
    assert reply.text not in error.reason
    if target is not None:
        assert isinstance(error, Held)
        assert str(error.target) == target


def test_server_stands_in_for_what_is_no_party() -> None:
    """A hold on a scope or context is not a transport's to name."""
    assert str(PARTY.target(TargetKind.SCOPE)) == "server:mx:25"


def test_key_tells_apart_what_must_not_share() -> None:
    """Each setting that changes a connection changes its key; others do not."""
    base = Key.of(make_settings())
    for change in (
        {"server_address": "other.example.nz"},
        {"port": 26},
        {"user": "bob"},
        {"username": "jane"},
        {"authentication_model": "oauth2"},
        {"authorisation": "required"},
        {"transport_security": "tls"},
        {"tls_mode": "implicit"},
        {"verify_certificate": False},
        {"allow_cleartext_password": True},
    ):
        assert Key.of(make_settings(**change)) != base, change
    by_token = {"authentication_model": "oauth2"}
    other_mailbox = make_settings(**by_token, address="other@example.nz")
    assert Key.of(other_mailbox) != Key.of(make_settings(**by_token))
    assert Key.of(make_settings(kind="batch", display_name="x", retry_for_seconds=1.0)) == base


def test_memory_keeps_fails_and_respects_begin() -> None:
    """The memory transport accepts after begin, fails where told to, and keeps nothing refused."""

    async def main() -> None:
        memory = MemoryTransport(
            lambda mail: Deferred("later") if "bad@example.nz" in mail.recipients else None
        )
        settings = make_settings()
        transmission = await memory.deliver(make_mail(), settings, Begun())
        assert transmission.recipients[0].state is RecipientState.ACCEPTED
        with pytest.raises(Deferred):
            await memory.deliver(make_mail("bad@example.nz"), settings, Begun())
        with pytest.raises(BeginRefused):
            await memory.deliver(make_mail(), settings, Begun(BeginRefused("no")))
        assert [item.account for item in memory.delivered] == ["acme/jane"]
        assert memory.lead_seconds(settings) == 0.0
        await memory.close()

    asyncio.run(main())
