"""Access tokens for tests of transports: those given, one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from config.effective import EffectiveSettings


class FakeTokens:
    """Hands out the first token until it is refused, then the next; see ``base.Tokens``.

    Args:
        tokens: at least one; the last one counts as just fetched.
        error: raised instead, whatever is asked for.

    Attributes:
        asked: for which resources, in order.
        refusals: how often a token was refused.
    """

    def __init__(self, *tokens: str, error: Exception | None = None) -> None:
        self._left = list(tokens)
        self._error = error
        self.asked: list[str] = []
        self.refusals = 0

    async def token(self, settings: EffectiveSettings, resource: Literal["smtp", "graph"]) -> str:
        """Return the token of the moment."""
        self.asked.append(resource)
        if self._error is not None:
            raise self._error
        return self._left[0]

    def refused(
        self, settings: EffectiveSettings, resource: Literal["smtp", "graph"], token: str
    ) -> bool:
        """Go on to the next token, if there is one, and if that was not done before."""
        if token != self._left[0]:
            return True
        self.refusals += 1
        if len(self._left) == 1:
            return False
        del self._left[0]
        return True

    def renew(self) -> None:
        """Go on to the next token, as if its time had come."""
        del self._left[0]
