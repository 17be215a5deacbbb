"""Tokens in a test login: which authority and application, and what a token says of itself."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from config.effective import EffectiveSettings
    from worker.transports.base import Tokens
    from worker.transports.conversation import Conversation


class WatchedTokens:
    """Gets tokens where others get them, and writes down everything about them but themselves."""

    def __init__(self, tokens: Tokens, conversation: Conversation) -> None:
        self._tokens = tokens
        self._conversation = conversation
        self._known = ""

    async def token(self, settings: EffectiveSettings, resource: Literal["smtp", "graph"]) -> str:
        """Return a token; see ``Tokens.token``."""
        tell = self._conversation
        if not self._known:
            tell.step("token")
            for line in _application(settings):
                tell.note(line)
        token = await self._tokens.token(settings, resource)
        if token != self._known:
            self._known = token
            tell.hide(token)
            tell.step("token")
            for line in claims_of(token):
                tell.note(line)
        return token

    def refused(
        self, settings: EffectiveSettings, resource: Literal["smtp", "graph"], token: str
    ) -> bool:
        """Have another token; see ``Tokens.refused``."""
        again = self._tokens.refused(settings, resource, token)
        if again:
            self._conversation.note("the token was refused: a new one is fetched")
        return again


def _application(settings: EffectiveSettings) -> list[str]:
    registration = settings.registration
    if registration is None:
        return []
    where = (
        f"{registration.authority_url}/{registration.tenant_id}"
        if registration.authority_server
        else "this machine's managed identity"
    )
    client = registration.client_id or "the system-assigned identity"
    return [
        f"authority: {where}",
        f"application: {client}, by {registration.grant}",
        f"mailbox: {settings.mailbox}",
    ]


def claims_of(token: str) -> list[str]:
    """What an access token says of itself; it is read and not checked: that is the server's business.

    (learn.microsoft.com/entra/identity-platform/access-token-claims-reference)
    """
    claims = _payload(token)
    if claims is None:
        return ["a token that only its server can read"]
    lines = [f"audience: {claims.get('aud', 'none')}"]
    if isinstance(ends := claims.get("exp"), int | float):
        lines.append(f"valid until {_time(ends)}")
    permissions = _words(claims.get("roles")) or _words(claims.get("scp"))
    lines.append(f"permissions: {permissions or 'none named'}")
    return lines


def _payload(token: str) -> dict[str, Any] | None:
    parts = token.split(".")
    if len(parts) != 3:  # noqa: PLR2004 - header, payload, signature (RFC 7519 3)
        return None
    try:
        found = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _words(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value or "")


def _time(wall: float) -> str:
    try:
        return f"{datetime.fromtimestamp(wall, tz=UTC):%Y-%m-%d %H:%M} UTC"
    except (OverflowError, ValueError, OSError):
        return "a time that does not exist"
