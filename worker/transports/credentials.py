"""What an account logs in with: its password, or an access token, and another after a refusal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.outcome import TargetKind
from worker.transports.login import PasswordLogin, TokenLogin

if TYPE_CHECKING:
    from config.effective import EffectiveSettings
    from worker.errors import Held
    from worker.transports.base import Tokens
    from worker.transports.failures import Party
    from worker.transports.login import Login


class Credentials:
    """Finds what to log in with.

    Args:
        tokens: where access tokens come from; None: there are none to be had.
    """

    def __init__(self, tokens: Tokens | None) -> None:
        self._tokens = tokens

    async def of(self, settings: EffectiveSettings, party: Party) -> Login | None:
        """Return what the account logs in with; None where it does not log in.

        It comes before the connection, so that no server is kept waiting while a token is had.

        Raises:
            Held: on the account, where something is missing; or as ``Tokens.token`` does.
        """
        authorisation = str(settings.authorisation)
        if authorisation == "none":
            return None
        with_token = settings.authentication_model == "oauth2"
        name = settings.mailbox if with_token else settings.username
        if not name:
            wanted = (
                'authentication_model = "oauth2"'
                if with_token
                else f'authorisation = "{authorisation}"'
            )
            raise party.account_held(f"{wanted} needs a username")
        password = settings.password.get_secret_value() if settings.password is not None else ""
        if not with_token and not password and authorisation == "required":
            raise party.account_held('authorisation = "required" needs a password')
        if settings.transport_security == "none" and not settings.allow_cleartext_password:
            raise party.account_held(
                f"no {'access token' if with_token else 'password'} is sent without TLS: "
                "set transport_security, or allow_cleartext_password = true"
            )
        if not with_token:
            return PasswordLogin(name, password)
        if self._tokens is None:
            raise party.account_held("access tokens cannot be had here")
        return TokenLogin(name, await self._tokens.token(settings, "smtp"))

    async def after(
        self, held: Held, login: Login | None, settings: EffectiveSettings, party: Party
    ) -> Login | None:
        """Return what to try after a failed connection; None: nothing else.

        There is something where a token was refused that had been had some time ago: it may have
        been withdrawn, or what it may do changed. A new one that is refused says that it is not that.

        Raises:
            Held: no other token can be had.
        """
        if not isinstance(login, TokenLogin) or held.target.kind is not TargetKind.CREDENTIAL:
            return None
        assert self._tokens is not None
        # Another connection may have met the same and have had a new one meanwhile.
        if not self._tokens.refused(settings, "smtp", login.token):
            return None
        return await self.of(settings, party)
