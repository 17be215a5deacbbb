"""Tokens of persons, end to end: sign in by a device code, kept encrypted, refreshed by any worker."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import TYPE_CHECKING

import pytest

from tests.support.authority_server import Fault
from tests.support.tokens import oauth_settings, registration
from worker.auth.asking import Asking
from worker.auth.device_code import DeviceFlow
from worker.auth.failures import Refusal
from worker.errors import Held
from worker.ledger import holds

if TYPE_CHECKING:
    from collections.abc import Callable

    from config.effective import EffectiveSettings
    from tests.support.authority import Authority
    from tests.support.tokens import Desk
    from worker.auth.asking import Resource
    from worker.auth.tokens import MsalTokens

HOUR = 3600.0


def settings_of(authority: Authority, user: str = "jane") -> EffectiveSettings:
    """An account for which a person signs in."""
    return oauth_settings(registration(authority, "device-code"), user)


def sign_in(authority: Authority, desk: Desk, user: str = "jane", sleeps: int = 1) -> str:
    """Go through the flow as the command does; the person takes her time. Who has signed in."""
    left = list(range(sleeps))

    def sleep(_seconds: float) -> None:
        left.pop()
        if not left:
            authority.approve(f"{user}@acme.test")

    asking = Asking.of(settings_of(authority, user), "smtp")
    with DeviceFlow(asking, sleep=sleep) as flow:
        code = flow.begin()
        assert code.address == f"{authority.url}/device"
        name = flow.wait()
        desk.logins.sign_in(asking.account, flow.cache, held=[f"credential:{asking.credential}"])
    return name


def token(
    tokens: MsalTokens, settings: EffectiveSettings, resource: Resource = "smtp"
) -> str | Held:
    """One token, or what is held."""

    async def go() -> str | Held:
        try:
            return await tokens.token(settings, resource)
        except Held as held:
            return held

    return asyncio.run(go())


def in_one_process(desk: Desk, use: Callable[[MsalTokens], None]) -> None:
    """Use the tokens of a process that starts and ends."""
    tokens = desk.tokens()
    try:
        use(tokens)
    finally:
        asyncio.run(tokens.close())


def one(desk: Desk, settings: EffectiveSettings, resource: Resource = "smtp") -> str | Held:
    """What a process that has just started gets."""
    found: list[str | Held] = []
    in_one_process(desk, lambda tokens: found.append(token(tokens, settings, resource)))
    return found[0]


def good(found: str | Held) -> str:
    """A token, where one is expected."""
    assert isinstance(found, str), found
    return found


def test_a_person_signs_in_and_every_worker_has_her_token(authority: Authority, desk: Desk) -> None:
    """After three questions she is done; another process finds the token, and asks nobody."""
    assert sign_in(authority, desk, sleeps=3) == "jane@acme.test"
    asked = len(authority.seen)
    first, second = (good(one(desk, settings_of(authority))) for _ in range(2))
    assert first == second
    assert authority.minter.claims(first)["upn"] == "jane@acme.test"
    assert authority.minter.claims(first)["aud"] == "https://outlook.office.com"
    assert len(authority.seen) == asked


def test_the_row_shows_no_token(authority: Authority, desk: Desk) -> None:
    """Neither access token nor refresh token nor name stands in the database's file."""
    sign_in(authority, desk)
    desk.ledger.close()
    with sqlite3.connect(desk.folder / "ledger.db") as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    content = (desk.folder / "ledger.db").read_bytes()
    refresh_tokens = list(authority._refresh_tokens)
    assert refresh_tokens
    assert authority.issued
    for secret in (*refresh_tokens, *authority.issued, "jane@acme.test"):
        assert secret.encode() not in content


def test_a_worker_refreshes_and_writes_it_back(authority: Authority, desk: Desk) -> None:
    """A token that has ended is refreshed once; the next process finds the new one."""
    authority.lifetime_seconds = 200.0  # MSAL counts that as ended
    sign_in(authority, desk)
    before = desk.logins.find("acme/jane")
    authority.lifetime_seconds = HOUR
    first = good(one(desk, settings_of(authority)))
    refreshes = authority.grants().count("refresh_token")
    assert good(one(desk, settings_of(authority))) == first
    assert refreshes == authority.grants().count("refresh_token") == 1
    kept = desk.logins.find("acme/jane")
    assert before is not None
    assert kept is not None
    assert kept.version == before.version + 1


def test_a_token_in_use_is_renewed_and_not_found_again(authority: Authority, desk: Desk) -> None:
    """The one in the ledger still looks good when it is renewed: the refresh is forced."""
    sign_in(authority, desk)

    def use(tokens: MsalTokens) -> None:
        old = good(token(tokens, settings_of(authority)))
        desk.now += 2 * HOUR  # of this process's clock: the token is over
        assert good(token(tokens, settings_of(authority))) != old
        assert authority.grants().count("refresh_token") == 1

    in_one_process(desk, use)


def test_a_refused_token_is_replaced_for_all(authority: Authority, desk: Desk) -> None:
    """What the server does not take any more is not taken from the ledger again."""
    sign_in(authority, desk)

    def use(tokens: MsalTokens) -> None:
        settings = settings_of(authority)
        old = good(token(tokens, settings))
        assert tokens.refused(settings, "smtp", old)
        new = good(token(tokens, settings))
        assert new != old
        assert not tokens.refused(settings, "smtp", new)
        assert good(one(desk, settings)) == new

    in_one_process(desk, use)


def test_consent_for_one_resource_serves_the_other(authority: Authority, desk: Desk) -> None:
    """A refresh token is not bound to a resource: Graph's token comes without another sign-in."""
    sign_in(authority, desk)
    claims = authority.minter.claims(good(one(desk, settings_of(authority), "graph")))
    assert claims["aud"] == "https://graph.example.test"


def test_nobody_has_signed_in(authority: Authority, desk: Desk) -> None:
    """The account is held, with the command to type; signing in ends the hold, and mail goes."""
    settings = settings_of(authority)
    held = one(desk, settings)
    assert isinstance(held, Held)
    assert str(held.target) == f"credential:{settings.credential}"
    assert held.reason.endswith("run `postmeter login jane --company acme`")
    desk.ledger.call(lambda c, now: holds.put_hold(c, now, str(held.target), held.reason))
    sign_in(authority, desk)
    assert desk.ledger.read(lambda c, _: holds.all_holds(c)) == []
    good(one(desk, settings))


def test_a_withdrawn_login_holds_its_account_alone(authority: Authority, desk: Desk) -> None:
    """An administrator ends jane's sessions: she has to sign in again, and john goes on."""
    authority.lifetime_seconds = 200.0
    sign_in(authority, desk)
    authority.revoke()
    authority.lifetime_seconds = HOUR
    sign_in(authority, desk, "john")
    settings = settings_of(authority)
    held = one(desk, settings)
    assert isinstance(held, Held)
    assert str(held.target) == f"credential:{settings.credential}"
    assert "(invalid_grant, AADSTS700082)" in held.reason
    assert "run `postmeter login jane --company acme`" in held.reason
    good(one(desk, settings_of(authority, "john")))
    sign_in(authority, desk)
    good(one(desk, settings))


def test_who_signs_in_while_a_worker_fails_is_not_held(authority: Authority, desk: Desk) -> None:
    """The worker's refresh was refused, but the login has changed meanwhile: it tries that one."""
    authority.lifetime_seconds = 200.0
    sign_in(authority, desk)
    authority.lifetime_seconds = HOUR
    authority.fail(
        Fault(error="invalid_grant", code=700082, during=lambda: sign_in(authority, desk))
    )
    good(one(desk, settings_of(authority)))


def test_the_authority_is_away_at_the_refresh(authority: Authority, desk: Desk) -> None:
    """That is no reason to sign in again: the authority is held, as a server."""
    authority.lifetime_seconds = 200.0
    sign_in(authority, desk)
    authority.fail(Fault(status=503, retry_after="30"))
    held = one(desk, settings_of(authority))
    assert isinstance(held, Held)
    assert str(held.target) == f"server:localhost:{authority.port}"
    assert held.retry_after_seconds == 30.0


@pytest.mark.parametrize("change", ["another key", "no key"])
def test_a_host_without_the_key_says_what_to_set(
    authority: Authority, desk: Desk, change: str
) -> None:
    """Two hosts need the same key; the login itself stays as it is."""
    sign_in(authority, desk)
    key = desk.key_file.read_bytes()
    desk.key_file.unlink()
    if change == "another key":
        desk.logins.sign_in("acme/john", "{}", held=[])
    held = one(desk, settings_of(authority))
    assert isinstance(held, Held)
    assert "POSTMETER_LOGIN_KEY_FILE" in held.reason
    assert str(held.target) == f"credential:{settings_of(authority).credential}"
    assert "postmeter login" not in held.reason  # it would replace what the other hosts can read
    desk.key_file.write_bytes(key)
    desk.key_file.chmod(0o600)
    good(one(desk, settings_of(authority)))


def test_another_application_needs_another_login(authority: Authority, desk: Desk) -> None:
    """A refresh token belongs to the application that it was issued to."""
    sign_in(authority, desk)
    authority.client_id = "another-application"
    held = one(desk, settings_of(authority))
    assert isinstance(held, Held)
    assert "for another application: run `postmeter login jane" in held.reason


def test_who_declines_has_not_signed_in(authority: Authority) -> None:
    """The flow ends at once; so does one whose code has run out."""
    asking = Asking.of(settings_of(authority), "smtp")
    with DeviceFlow(asking, sleep=lambda _: authority.decline()) as flow:
        flow.begin()
        with pytest.raises(Refusal) as caught:
            flow.wait()
    assert caught.value.result["error"] == "authorization_declined"
    with DeviceFlow(asking, sleep=lambda _: None, clock=iter((0.0, 1.0, 1000.0)).__next__) as flow:
        flow.begin()
        with pytest.raises(Refusal) as caught:
            flow.wait()
    assert caught.value.result["error"] == "expired_token"


def test_a_broken_connection_does_not_end_the_waiting(authority: Authority, desk: Desk) -> None:
    """The code stays good: the person may be typing just then (RFC 8628, 3.5)."""
    asking = Asking.of(settings_of(authority), "smtp")
    authority.polls = [Fault(cut=True), Fault(status=503)]
    with DeviceFlow(asking, sleep=lambda _: authority.approve("jane@acme.test")) as flow:
        flow.begin()
        assert flow.wait() == "jane@acme.test"
    assert authority.polls == []
