"""What Graph's answers mean for us: never again, not now, or nobody knows.

The knowledge is data: ``graph_replies.toml`` beside this file. The first row that fits decides;
without one a 4xx is this mail's fault, and everything else is open: only the status that an
operation promises counts as success (an HTTP 200 to a send was not accepted,
microsoft-graph-docs-contrib#3079).
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_DEEPEST: Final = 8
_REQUEST_TIMEOUT: Final = 408


class Operation(StrEnum):
    """What is asked of Graph."""

    CREATE = "create"
    FIND = "find"
    LOOK = "look"
    ATTACH = "attach"
    ATTACHED = "attached"
    SESSION = "session"
    UPLOAD = "upload"
    DELETE = "delete"
    SEND = "send"


SUCCESS: Final[Mapping[Operation, frozenset[int]]] = {
    Operation.CREATE: frozenset({201}),
    Operation.FIND: frozenset({200}),
    Operation.LOOK: frozenset({200}),
    Operation.ATTACH: frozenset({201}),
    Operation.ATTACHED: frozenset({200}),
    Operation.SESSION: frozenset({201}),
    Operation.UPLOAD: frozenset({200, 201, 204}),
    Operation.DELETE: frozenset({204}),
    Operation.SEND: frozenset({202}),
}
"""The statuses that an operation's page promises."""


class Verdict(StrEnum):
    """What to do next."""

    DEAD = "dead"
    HOLD = "hold"
    RENEW = "renew"
    MISSING = "missing"
    SMALL = "small"
    OPEN = "open"


class Target(StrEnum):
    """What a hold stands on."""

    SERVER = "server"
    ACCOUNT = "account"
    CREDENTIAL = "credential"
    APP = "app"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, as far as it matters.

    Attributes:
        codes: ``error.code`` and those within it, from the outside in.
        retry_after_seconds: the header, where there was one.
        value: the JSON object of the body; empty where there was none.
        request_id: Graph's name for the request.
    """

    status: int
    codes: tuple[str, ...] = ()
    retry_after_seconds: float | None = None
    value: Mapping[str, Any] | None = None
    request_id: str = ""

    @property
    def words(self) -> str:
        """Status and codes: no text of the server's, which may hold addresses."""
        return " ".join((str(self.status), *dict.fromkeys(self.codes)))


@dataclass(frozen=True, slots=True)
class Meaning:
    """What an answer means.

    Attributes:
        rule: the row that decided, or ``generic``.
        reason: one line for a person.
        target: what to hold, where the verdict is ``hold`` or ``renew``.
        retry_after_seconds: how long to wait; the server's own wish where it had one.
    """

    rule: str
    verdict: Verdict
    reason: str
    target: Target | None = None
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table: all conditions that are given must fit."""

    meaning: Meaning
    example: tuple[int, str, str]
    operations: tuple[Operation, ...] = ()
    statuses: frozenset[int] = frozenset()
    codes: frozenset[str] = frozenset()

    def fits(self, answer: Answer, operation: Operation) -> bool:
        """Whether this row decides about ``answer``."""
        return (
            (not self.operations or operation in self.operations)
            and (not self.statuses or answer.status in self.statuses)
            and (not self.codes or any(code.lower() in self.codes for code in answer.codes))
        )


def read_answer(
    status: int, headers: Mapping[str, str], body: bytes, now_wall: Callable[[], float]
) -> Answer:
    """Make an answer of a response; a body that is no JSON object says nothing.

    Args:
        headers: asked for by lower-case names.
        now_wall: Unix seconds, for a Retry-After that is a date.
    """
    try:
        value = json.loads(body) if body else None
    except ValueError:
        value = None
    if not isinstance(value, dict):
        value = None
    asked = headers.get("retry-after")
    return Answer(
        status,
        tuple(_codes(value.get("error"))) if value else (),
        None if asked is None else _seconds(asked, now_wall),
        value,
        headers.get("request-id", ""),
    )


def _codes(error: Any) -> Iterator[str]:
    """The codes from the outside in: the innermost that is known decides (graph/errors)."""
    for _ in range(_DEEPEST):
        if not isinstance(error, dict):
            return
        if isinstance(error.get("code"), str) and error["code"]:
            yield error["code"][:100]
        error = error.get("innererror", error.get("innerError"))


def _seconds(text: str, now_wall: Callable[[], float]) -> float | None:
    """Read Retry-After: seconds, or a date (RFC 9110 10.2.3); None where it is neither."""
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return parsedate_to_datetime(text).timestamp() - now_wall()
    except ValueError:
        return None


def classify(answer: Answer, operation: Operation) -> Meaning:
    """Say what an answer means that is not the success which the operation promises."""
    found = _meaning(answer, operation)
    wish = answer.retry_after_seconds
    if wish is None or found.verdict is not Verdict.HOLD:
        return found
    return Meaning(found.rule, found.verdict, found.reason, found.target, wish)


def _meaning(answer: Answer, operation: Operation) -> Meaning:
    for rule in rules():
        if rule.fits(answer, operation):
            return rule.meaning
    if answer.status // 100 == 4 and answer.status != _REQUEST_TIMEOUT:  # noqa: PLR2004 - 4xx: the request's own fault (RFC 9110 15.5)
        return Meaning("generic", Verdict.DEAD, "Microsoft 365 does not take the mail")
    return Meaning("generic", Verdict.OPEN, "Microsoft Graph did not say what became of it")


@cache
def rules() -> tuple[Rule, ...]:
    """Return the table, read once, in its order.

    Raises:
        ValueError: a row is wrong; the message names it.
    """
    text = files("worker.transports").joinpath("graph_replies.toml").read_text("utf-8")
    return tuple(_rule(row) for row in tomllib.loads(text)["rule"])


def _rule(row: Mapping[str, Any]) -> Rule:
    known = {
        "name", "operations", "statuses", "codes", "verdict", "target", "reason",
        "retry_after_seconds", "example",
    }  # fmt: skip
    if unknown := sorted(row.keys() - known):
        raise ValueError(f"graph_replies.toml, {row.get('name')!r}: unknown key {unknown[0]!r}")
    verdict = Verdict(row["verdict"])
    target = Target(row["target"]) if "target" in row else None
    if (verdict in {Verdict.HOLD, Verdict.RENEW}) != (target is not None):
        raise ValueError(f"graph_replies.toml, {row['name']!r}: a hold names its target, no other")
    status, code, inner = row["example"]
    return Rule(
        Meaning(row["name"], verdict, row["reason"], target, row.get("retry_after_seconds")),
        (status, code, inner),
        tuple(Operation(name) for name in row.get("operations", ())),
        frozenset(row.get("statuses", ())),
        frozenset(code.lower() for code in row.get("codes", ())),
    )
