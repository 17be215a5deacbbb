"""What a server's reply means for us: defer this mail, hold a target, or give the mail up.

The knowledge is data: ``replies.toml`` beside this file. The first row that fits decides; without
one, RFC 5321 4.2.1 does: 4yz is deferred, 5yz is dead, except where the stage says more (a refused
login is the credential's fault, a refused greeting the server's).

Where the words ask for a time ("try again in 5 minutes"), that takes the place of the row's own.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from worker.outcome import Reply, TargetKind
from worker.retry import with_wish

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAX_TEXT_LENGTH = 500
"""Characters of a server's words that are kept."""

_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:\s+|$)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")

_WISH = re.compile(
    r"\b(?:(?P<named>retry-after[ :=]*)|(?:try again|retry|come back|wait|gr[ea]y-?listed|delayed)\b"
    r"(?:[ ,:]+(?:in|for|after|at least|another|about|please))*[ :]+)"
    r"(?:(?P<clock>\d{1,2}:\d\d:\d\d)\b|(?P<number>[-+]?\d{1,12}(?:\.\d{1,6})?|nan\b|inf\b)"
    r" ?(?P<unit>(?:seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|years?)\b)?)",
    re.IGNORECASE,
)
_UNIT_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "y": 365 * 86400.0}


class Stage(StrEnum):
    """Where in a session a reply came."""

    CONNECT = "connect"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    CONTENT = "content"


class Verdict(StrEnum):
    """What to do next."""

    DEFERRED = "deferred"
    HOLD = "hold"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Classification:
    """What a reply means.

    Attributes:
        rule: the row that decided, or ``generic``.
        verdict: what to do next.
        target: what to hold, where the verdict is ``hold``.
        reason: one line for a person, without the server's words.
        retry_after_seconds: how long to wait at least, where that is known.
    """

    rule: str
    verdict: Verdict
    reason: str
    target: TargetKind | None = None
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table: all conditions that are given must fit."""

    classification: Classification
    example: str
    stages: frozenset[Stage] = frozenset()
    codes: frozenset[int] = frozenset()
    enhanced: re.Pattern[str] | None = None
    text: re.Pattern[str] | None = None

    def fits(self, reply: Reply, stage: Stage) -> bool:
        """Whether this row decides about ``reply`` at ``stage``."""
        return (
            (not self.stages or stage in self.stages)
            and (not self.codes or reply.code in self.codes)
            and (self.enhanced is None or self.enhanced.fullmatch(reply.enhanced or "") is not None)
            and (self.text is None or self.text.search(reply.text) is not None)
        )


_REPLY_TARGETS = frozenset({TargetKind.SERVER, TargetKind.ACCOUNT, TargetKind.CREDENTIAL})
_STAGE_HOLDS = {
    Stage.CONNECT: (TargetKind.SERVER, "the server does not accept connections now"),
    Stage.EHLO: (TargetKind.SERVER, "the server refused our greeting"),
    Stage.STARTTLS: (TargetKind.SERVER, "the server refused to start TLS"),
}
_GENERIC = {
    True: Classification("generic", Verdict.DEFERRED, "the server refused the mail for now"),
    False: Classification("generic", Verdict.DEAD, "the server refused the mail for good"),
}


def parse_reply(code: int, lines: Iterable[str]) -> Reply:
    """Make a reply from its lines without their codes (RFC 5321 4.2.1, RFC 2034 4).

    The enhanced code is taken from the first line and dropped from the others. Control characters
    become spaces and the text is cut at 500 characters: it goes into logs and databases.
    """
    enhanced: str | None = None
    texts: list[str] = []
    for line in lines:
        match = _ENHANCED.match(line)
        if match is not None and match[1][0] == str(code)[0]:
            enhanced = enhanced or match[1]
            line = line[match.end() :]  # noqa: PLW2901 - the line without its code
        texts.append(line)
    return Reply(code, clean(" ".join(texts)), enhanced)


def clean(text: str) -> str:
    """Make a server's words safe to store: no control characters, at most 500 characters."""
    return _CONTROL.sub(" ", text[: 2 * MAX_TEXT_LENGTH]).strip()[:MAX_TEXT_LENGTH]


def wish_of(text: str) -> float | None:
    """Return how many seconds a server's words ask to wait; None where they name no time.

    It is whatever the server wrote, so it may be absurd: ``retry.granted`` says what it gets. A
    number without a unit counts as seconds after ``Retry-After`` only; elsewhere it may be anything.
    """
    found = _WISH.search(text)
    if found is None:
        return None
    if found["clock"]:
        hours, minutes, seconds = (float(part) for part in found["clock"].split(":"))
        return hours * 3600 + minutes * 60 + seconds
    if not found["unit"] and not found["named"]:
        return None
    return float(found["number"]) * _UNIT_SECONDS[(found["unit"] or "s")[0].lower()]


def classify(reply: Reply, stage: Stage) -> Classification:
    """Say what a negative reply means at this stage of the session, and how long to wait."""
    found = _meaning(reply, stage)
    if found.verdict is Verdict.DEAD or (asked := wish_of(reply.text)) is None:
        return found
    reason, seconds = with_wish(found.reason, asked)
    return replace(found, reason=reason, retry_after_seconds=seconds)


def _meaning(reply: Reply, stage: Stage) -> Classification:
    for rule in rules():
        if rule.fits(reply, stage):
            return rule.classification
    transient = reply.code // 100 != 5  # noqa: PLR2004 - 5yz (RFC 5321 4.2.1)
    if stage in _STAGE_HOLDS:
        target, reason = _STAGE_HOLDS[stage]
        return Classification("generic", Verdict.HOLD, reason, target)
    if stage is Stage.AUTH:
        if transient:
            return Classification(
                "generic",
                Verdict.HOLD,
                "the server cannot check logins now",
                TargetKind.ACCOUNT,
            )
        return Classification(
            "generic",
            Verdict.HOLD,
            "the server refused the login: check username and password",
            TargetKind.CREDENTIAL,
        )
    return _GENERIC[transient]


@cache
def rules() -> tuple[Rule, ...]:
    """Return the table, read once, in its order.

    Raises:
        ValueError: a row is wrong; the message names it.
    """
    rows = tomllib.loads(files("worker").joinpath("replies.toml").read_text("utf-8"))["rule"]
    return tuple(_rule(row) for row in rows)


def _rule(row: Mapping[str, Any]) -> Rule:
    known = {
        "name", "stages", "codes", "enhanced", "text",
        "verdict", "target", "reason", "retry_after_seconds", "example",
    }  # fmt: skip
    if unknown := sorted(row.keys() - known):
        raise ValueError(f"replies.toml, {row.get('name')!r}: unknown key {unknown[0]!r}")
    verdict = Verdict(row["verdict"])
    target = TargetKind(row["target"]) if "target" in row else None
    if (verdict is Verdict.HOLD) != (target in _REPLY_TARGETS):
        raise ValueError(f"replies.toml, {row['name']!r}: a hold names its target, no other does")
    return Rule(
        classification=Classification(
            row["name"], verdict, row["reason"], target, row.get("retry_after_seconds")
        ),
        example=row["example"],
        stages=frozenset(Stage(stage) for stage in row.get("stages", ())),
        codes=frozenset(row.get("codes", ())),
        enhanced=_pattern(row, "enhanced"),
        text=_pattern(row, "text"),
    )


def _pattern(row: Mapping[str, Any], key: str) -> re.Pattern[str] | None:
    return re.compile(row[key], re.IGNORECASE) if key in row else None
