"""Tokens of applications, end to end over HTTPS: secret, certificate, managed identity, failures."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from tests.support.authority_server import Fault
from tests.support.certificates import certificates
from tests.support.self_signed import self_signed
from tests.support.tokens import oauth_settings, registration
from tests.support.waiting import GENEROUS_SECONDS
from worker.errors import Held
from worker.holding import targets_of

if TYPE_CHECKING:
    from pathlib import Path

    from config.registration import Registration
    from tests.support.authority import Authority
    from tests.support.tokens import Desk
    from worker.auth.asking import Resource

GRAPH = "https://graph.example.test"
SMTP = "https://outlook.office365.com"


def ask(desk: Desk, *apps: Registration, resource: Resource = "smtp") -> list[str | Held]:
    """Ask one process for a token of each application in turn; what comes, or what is held."""

    async def go() -> list[str | Held]:
        tokens = desk.tokens()
        found: list[str | Held] = []
        for app in apps:
            desk.now += 5  # a failure is not remembered so long
            try:
                found.append(await tokens.token(oauth_settings(app), resource))
            except Held as held:
                found.append(held)
        await tokens.close()
        return found

    return asyncio.run(go())


def token_of(desk: Desk, app: Registration, resource: Resource = "smtp") -> str:
    """The token that is to be had."""
    (found,) = ask(desk, app, resource=resource)
    assert isinstance(found, str), found
    return found


def hold_of(desk: Desk, app: Registration) -> Held:
    """The hold, where none is to be had."""
    (found,) = ask(desk, app)
    assert isinstance(found, Held)
    return found


@pytest.mark.parametrize(("resource", "audience"), [("smtp", SMTP), ("graph", GRAPH)])
def test_a_secret(authority: Authority, desk: Desk, resource: Resource, audience: str) -> None:
    """One request; the token is for the resource, and its end is told."""
    claims = authority.minter.claims(token_of(desk, registration(authority), resource))
    assert (claims["aud"], claims["appid"]) == (audience, authority.client_id)
    assert authority.grants() == ["client_credentials"]
    ((owner, ends),) = desk.ends.items()
    assert owner == (f"_app/{authority.client_id}", resource)
    assert abs(ends - claims["exp"]) < 60


def test_a_certificate(authority: Authority, desk: Desk, tmp_path: Path) -> None:
    """The assertion is signed with the key (PS256, SHA-256); no secret is sent."""
    path = tmp_path / "app.pem"
    authority.new_certificate(path)
    app = registration(authority, "certificate", certificate_file=path)
    assert authority.minter.claims(token_of(desk, app))["aud"] == SMTP
    assert "client_secret" not in authority.seen[0]


def test_a_certificate_that_is_not_registered(
    authority: Authority, desk: Desk, tmp_path: Path
) -> None:
    """The sentence names the setting; a new file is a new registration, and is tried at once."""
    path = tmp_path / "app.pem"
    path.write_bytes(self_signed("postmeter").pem)
    app = registration(authority, "certificate", certificate_file=path)
    held = hold_of(desk, app)
    assert "register the certificate of certificate_file" in held.reason
    assert str(held.target) == f"credential:{app.key}"
    authority.new_certificate(path)
    token_of(desk, replace(app, certificate_version="2"))


@pytest.mark.parametrize("client_id", ["", "identity-1"], ids=["system", "user-assigned"])
def test_a_managed_identity(
    authority: Authority, desk: Desk, monkeypatch: pytest.MonkeyPatch, client_id: str
) -> None:
    """Azure's variables say where; nothing of ours is a secret."""
    for name, value in authority.identity_environ().items():
        monkeypatch.setenv(name, value)
    app = registration(authority, "managed-identity", client_id=client_id, tenant_id="")
    claims = authority.minter.claims(token_of(desk, app))
    assert (claims["aud"], claims["appid"]) == (SMTP, client_id or "system")
    assert authority.grants() == ["identity"]


def test_a_machine_without_an_identity(
    authority: Authority, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The registration is held, with what to do; the header that Azure set is not shown."""
    for name, value in authority.identity_environ().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("IDENTITY_HEADER", "wrong-header")
    app = registration(authority, "managed-identity", client_id="", tenant_id="")
    held = hold_of(desk, app)
    assert str(held.target) == f"credential:{app.key}"
    assert "assign a managed identity" in held.reason
    assert "wrong-header" not in held.reason


def test_an_expired_secret_is_one_hold_until_it_is_rotated(
    authority: Authority, desk: Desk
) -> None:
    """A hundred mailboxes, one request; the new secret works in the same process, without a restart."""
    old = registration(authority)
    authority.client_secret = "a-new-secret-that-nobody-must-see"

    async def go() -> None:
        tokens = desk.tokens()
        results = await asyncio.gather(
            *(tokens.token(oauth_settings(old, f"u{i}"), "smtp") for i in range(100)),
            return_exceptions=True,
        )
        helds = [each for each in results if isinstance(each, Held)]
        assert {str(each.target) for each in helds} == {f"credential:{old.key}"}
        assert len(helds) == 100
        assert authority.grants() == ["client_credentials"]
        assert "invalid_client, AADSTS7000215" in helds[0].reason
        new = registration(authority)
        assert new.key != old.key
        await tokens.token(oauth_settings(new), "smtp")
        await tokens.close()

    asyncio.run(go())


def test_msal_does_not_serve_a_failure_from_memory(authority: Authority, desk: Desk) -> None:
    """MSAL keeps a 400 for 60 s; the next probe asks the authority all the same."""
    app = registration(authority)
    authority.fail(Fault(error="invalid_scope"))
    first, second = ask(desk, app, app)
    assert isinstance(first, Held)
    assert isinstance(second, str)
    assert len(authority.grants()) == 2


@pytest.mark.parametrize(
    ("fault", "words", "wish"),
    [
        (Fault(status=400, error="temporarily_unavailable"), "(temporarily_unavailable", None),
        (Fault(status=503, retry_after="90"), "HTTP 503", 90.0),
        (Fault(status=500), "HTTP 500", None),
        (Fault(cut=True), "ends the connection", None),
        (Fault(status=200, page=True), "a proxy or another server", None),
    ],
)
def test_an_authority_in_trouble_is_held_as_a_server(
    authority: Authority, desk: Desk, fault: Fault, words: str, wish: float | None
) -> None:
    """With its own wish; one request later it works again."""
    app = registration(authority)
    authority.fail(fault)
    first, second = ask(desk, app, app)
    assert isinstance(first, Held)
    assert str(first.target) == f"server:localhost:{authority.port}"
    assert words in first.reason
    assert first.retry_after_seconds == wish
    assert isinstance(second, str)


def test_one_apps_throttling_holds_no_other(authority: Authority, desk: Desk) -> None:
    """The app that is told 429 waits as long as it is told; another has its token meanwhile."""
    throttled, other = registration(authority), registration(authority, certificate_version="b")
    authority.fail(Fault(status=429, error="temporarily_unavailable", retry_after="7"))
    held, token = ask(desk, throttled, other)
    assert isinstance(held, Held)
    assert str(held.target) == f"credential:{throttled.key}"
    assert held.retry_after_seconds == 7.0
    assert str(held.target) not in targets_of(oauth_settings(other))
    assert isinstance(token, str)


def test_a_slow_authority_keeps_nothing_else_waiting(authority: Authority, desk: Desk) -> None:
    """While one application's request hangs, another's goes through."""
    slow, quick = registration(authority), registration(authority, certificate_version="quick")
    gate = threading.Event()

    async def go() -> None:
        tokens = desk.tokens()
        authority.fail(Fault(delay_seconds=0.001, during=lambda: gate.wait(GENEROUS_SECONDS)))
        waiting = asyncio.ensure_future(tokens.token(oauth_settings(slow), "smtp"))
        while not authority.grants():  # noqa: ASYNC110 - a thread does it
            await asyncio.sleep(0.005)
        await tokens.token(oauth_settings(quick), "smtp")
        assert not waiting.done()
        gate.set()
        await waiting
        await tokens.close()

    asyncio.run(go())


@pytest.mark.parametrize(
    ("changes", "target", "words"),
    [
        ({"tenant_id": "nobody.test"}, "credential", "check tenant_id"),
        ({"client_id": "unknown"}, "credential", "check client_id"),
        ({"client_secret": SecretStr("wrong")}, "credential", "client_secret_file"),
        ({"authority_url": "https://localhost:1"}, "server", "Connection refused"),
        ({"ca_file": None}, "server", "name its authority in ca_file"),
    ],
    ids=["tenant", "client", "secret", "address", "trust"],
)
def test_what_is_written_wrong_is_named(
    authority: Authority, desk: Desk, changes: dict[str, Any], target: str, words: str
) -> None:
    """Each wrong setting is one sentence that names it, with nothing secret in it."""
    app = registration(authority, **changes)
    held = hold_of(desk, app)
    assert str(held.target).startswith(f"{target}:")
    assert words in held.reason
    for secret in (authority.client_secret, "wrong", "particulars"):
        assert secret not in f"{held.reason}{held!r}"


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_the_environment_does_not_say_whom_to_trust(
    authority: Authority,
    desk: Desk,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    variable: str,
) -> None:
    """With requests these variables win over ``verify``; here they neither break our trust nor make it."""
    other = certificates(tmp_path / "other-ca").ca_file
    monkeypatch.setenv(variable, str(other))
    token_of(desk, registration(authority))
    monkeypatch.setenv(variable, str(authority.ca_file))
    assert "not trusted" in hold_of(desk, registration(authority, ca_file=other)).reason


def test_a_proxy_is_what_the_environment_may_say(
    authority: Authority, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HTTPS_PROXY is heeded and named where it does not work; NO_PROXY goes past it."""
    for name in ("no_proxy", "NO_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    assert "the proxy that HTTPS_PROXY names" in hold_of(desk, registration(authority)).reason
    assert not authority.seen
    monkeypatch.setenv("NO_PROXY", "localhost")
    token_of(desk, registration(authority))


def test_a_managed_identity_is_asked_past_any_proxy(
    authority: Authority, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The endpoint is the machine's own."""
    for name, value in authority.identity_environ().items():
        monkeypatch.setenv(name, value)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    token_of(desk, registration(authority, "managed-identity", client_id="", tenant_id=""))


def test_nobody_is_followed_elsewhere(authority: Authority, desk: Desk) -> None:
    """A redirection would take the secret along: it is no answer of the authority."""
    authority.fail(Fault(status=307, page=True, location="https://localhost:1/elsewhere"))
    assert "HTTP 307" in hold_of(desk, registration(authority)).reason


@pytest.mark.parametrize("length", [500, 1500, 2500, 4000])
def test_tokens_of_every_length_come_through(authority: Authority, desk: Desk, length: int) -> None:
    """Entra's tokens have 1,500 to 2,500 characters, and grow with the groups of an account."""
    authority.length = length
    assert length <= len(token_of(desk, registration(authority))) <= length + 2
