"""What a test login writes down: its steps, what was found in each, and what was said.

No secret is in it: whatever follows ``AUTH`` is hidden, and so is every challenge. Addresses are
shortened as in logs, so that what is printed can be shown to whoever runs the server.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from worker.telemetry.masking import HIDDEN, mask_addresses, one_line

if TYPE_CHECKING:
    from collections.abc import Callable

_CHALLENGE: Final = 334
_MAX_LINE: Final = 512
_SHORTEST_SECRET: Final = 4
"""A shorter one would be found in every second word."""
_ENCODED: Final = re.compile(r"[A-Za-z0-9+/_-]{8,}={0,2}")
_URL_SAFE: Final = str.maketrans("+/", "-_")
_LONG: Final = 40
"""So long a run of letters is no word: it is a token, or what a login was encoded to."""


@dataclass(slots=True)
class Step:
    """One step of a test login.

    Attributes:
        name: ``token``, ``DNS``, ``TCP``, ``TLS``, ``greeting``, ``EHLO``, ``AUTH``, ``mail`` …
        lines: in their order; those that begin with ``C:`` and ``S:`` were said by us and by the
            server, the others are what was found.
    """

    name: str
    lines: list[str] = field(default_factory=list)


class Conversation:
    """Writes a test login down.

    Args:
        tell: told each line as it comes, with the name of its step.

    Attributes:
        steps: what has been written; a step that had nothing to say is not in it.
        under_way: the name of the step that goes on now.
    """

    def __init__(self, tell: Callable[[str, str], None] | None = None) -> None:
        self.steps: list[Step] = []
        self.under_way = "settings"
        self._tell = tell
        self._logging_in = False
        self._hidden: list[str] = []

    def hide(self, secret: str) -> None:
        """Show a secret nowhere, whoever says it: a server may repeat what it was told."""
        if len(secret) >= _SHORTEST_SECRET:
            self._hidden.append(secret)

    def step(self, name: str) -> None:
        """A step begins, or goes on."""
        self.under_way = name

    def note(self, fact: str) -> None:
        """Something was found."""
        self._add(fact)

    def client(self, command: str) -> None:
        """We said something; what could be a secret is hidden here."""
        verb, _, rest = command.partition(" ")
        if self._logging_in:
            command = HIDDEN if command else "(an empty line)"
        elif verb.upper() == "AUTH":
            self._logging_in = True
            mechanism, more, _ = rest.partition(" ")
            command = f"AUTH {mechanism}{more and f' {HIDDEN}'}"
        self._add(f"C: {command}")

    def server(self, code: int, words: str, *, challenge: str = "") -> None:
        """The server replied, perhaps in several lines.

        Args:
            challenge: what may be shown of a challenge, of which nothing else is.
        """
        if code == _CHALLENGE and self._logging_in:
            self._add(f"S: {code} {challenge or HIDDEN}")
            return
        *first, last = words.split("\n")
        for line in first:
            self._add(f"S: {code}-{line}")
        self._add(f"S: {code} {last}")
        self._logging_in = False

    def _add(self, line: str) -> None:
        line = _ENCODED.sub(self._without_secret, line)
        for secret in self._hidden:
            line = line.replace(secret, HIDDEN)
        shown = str(one_line(mask_addresses(line)))[:_MAX_LINE].rstrip()
        if not self.steps or self.steps[-1].name != self.under_way:
            self.steps.append(Step(self.under_way))
        self.steps[-1].lines.append(shown)
        if self._tell is not None:
            self._tell(self.under_way, shown)

    def _without_secret(self, found: re.Match[str]) -> str:
        run = found[0]
        if len(run) >= _LONG and self._logging_in:
            return HIDDEN
        try:
            plain = base64.urlsafe_b64decode(run.translate(_URL_SAFE).rstrip("=") + "===")
        except binascii.Error:
            return run
        return HIDDEN if any(each.encode() in plain for each in self._hidden) else run
