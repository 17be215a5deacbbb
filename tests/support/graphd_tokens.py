"""Who a request is from: bearer tokens, and which of them the Graph for tests takes."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.support.graphd_wire import Refused, misshapen

if TYPE_CHECKING:
    from collections.abc import Mapping

Tokens = Container[str] | Callable[[str], bool] | None
"""The tokens that are good: a set, or what tells; None for every one that has not expired."""


@dataclass(frozen=True, slots=True)
class Bearer:
    """Who a token is of.

    Attributes:
        application: the id of the app that it was made for.
        user: whose mailbox ``/me`` is; empty for an app's own token.
    """

    application: str = "app"
    user: str = ""


@dataclass(slots=True)
class Gate:
    """Lets tokens in.

    Attributes:
        good: see ``Tokens``.
        refused: tokens that are good no more; a test adds to them.
    """

    good: Tokens = None
    refused: set[str] = field(default_factory=set)

    def let_in(self, headers: Mapping[str, str]) -> Bearer:
        """Return whose token a request has.

        Raises:
            Refused: it has none that is good.
        """
        given = headers.get("authorization", "")
        kind, _, token = given.partition(" ")
        if not given:
            raise misshapen("InvalidAuthenticationToken", "Access token is empty.", 401)
        if kind != "Bearer" or not token or token != token.strip():
            raise misshapen("InvalidAuthenticationToken", "Access token validation failure.", 401)
        claims = claims_of(token)
        expired = claims.get("exp", float("inf")) <= time.time()
        if expired or token in self.refused or not self._is_good(token):
            raise Refused(
                401,
                "InvalidAuthenticationToken",
                "Lifetime validation failed, the token is expired.",
                headers={"WWW-Authenticate": 'Bearer realm="", error="invalid_token"'},
            )
        return bearer(headers)

    def _is_good(self, token: str) -> bool:
        if self.good is None:
            return True
        return self.good(token) if callable(self.good) else token in self.good


def bearer(headers: Mapping[str, str]) -> Bearer:
    """Return whose token a request seems to have, without a look at whether it is good."""
    claims = claims_of(headers.get("authorization", "").partition(" ")[2])
    return Bearer(
        claims.get("appid") or claims.get("azp") or "app",
        claims.get("upn", "") if "scp" in claims or "idtyp" not in claims else "",
    )


def claims_of(token: str) -> dict[str, Any]:
    """Return what a JWT claims, unverified; nothing for any other token."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return {}
    return claims if isinstance(claims, dict) else {}
