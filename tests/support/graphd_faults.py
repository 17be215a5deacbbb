"""How a Graph misbehaves: the faults, and the schedules that say which request meets which.

What each fault stands for has been seen at Microsoft's: docs-contrib#3079 (200 on send), #921 (504,
yet delivered), msgraph-sdk-java#1487 (202 with Retry-After), the page outlook-immutable-id (the copy
in Sent Items comes late), best-practices-concept (a 503's connection is not used again).
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from tests.support.graphd_wire import Refused, Reply

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tests.support.graphd_wire import Request

ALL = frozenset(
    {
        *("create", "get", "list", "update", "delete", "send", "sendmail", "sent"),
        *("attach", "attachments", "detach", "session"),
        *("upload", "upload-status", "upload-cancel"),
    }
)
"""Every operation: by these names schedules and the log of requests speak of them."""
SENDS = frozenset({"send", "sendmail"})
STORES = frozenset({"create", "attach", "session", "upload", "update", "delete"}) | SENDS


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to misbehave.

    Attributes:
        operations: where it can happen.
        done: whether the request takes effect nevertheless.
        status: what is replied instead of the usual; 0 for the usual.
        code: of the error that is replied.
        retry_after: the header's value, empty for none.
        cut: end the connection instead of replying.
        delay_seconds: how late the reply is.
        looks: how many looks show a mail as a draft after it was sent.
        part: how much of a chunk is kept, of 1.
    """

    name: str
    operations: frozenset[str] = ALL
    done: bool = False
    status: int = 0
    code: str = ""
    inner: str = ""
    message: str = ""
    retry_after: str = ""
    cut: bool = False
    delay_seconds: float = 0.0
    looks: int = 0
    part: float = 1.0

    def after(self, seconds: float) -> Fault:
        """Return the same with a late reply."""
        return replace(self, delay_seconds=seconds)

    def waiting(self, retry_after: int | str) -> Fault:
        """Return the same with this Retry-After, in seconds or as an HTTP date."""
        return replace(self, retry_after=str(retry_after))

    def showing_draft(self, looks: int) -> Fault:
        """Return the same, after which so many looks show the sent mail as a draft."""
        return replace(self, name=f"{self.name}-lagging-{looks}", looks=looks)

    def only(self, *operations: str) -> Fault:
        """Return the same, for these operations only."""
        return replace(self, operations=frozenset(operations))

    def spoil(self, request: Request, usual: Reply | None) -> Reply:
        """Return the reply that the client gets; ``usual`` is None where nothing was done."""
        headers = {"Retry-After": self.retry_after} if self.retry_after else {}
        if self.status == 401:
            headers["WWW-Authenticate"] = 'Bearer realm="", error="invalid_token"'
        if self.status >= 400:
            refused = Refused(
                self.status, self.code, self.message, inner=self.inner, headers=headers
            )
            reply = refused.reply(request)
        elif self.status:
            reply = Reply(self.status, headers=headers)
        else:
            reply = usual or Reply(500)
            reply.headers.update(headers)
        reply.cut = self.cut
        reply.delay_seconds = self.delay_seconds
        return reply


_BUSY = "Application is over its MailboxConcurrency limit."

CUT_BEFORE = Fault("cut-before", cut=True)
CUT_AFTER = Fault("cut-after", cut=True, done=True)
THROTTLED = Fault(
    "throttled", status=429, code="ApplicationThrottled", message=_BUSY, retry_after="1"
)
THROTTLED_SILENTLY = Fault(
    "throttled-silently", status=429, code="ApplicationThrottled", message=_BUSY
)
UNAVAILABLE = Fault(
    "unavailable", status=503, code="serviceNotAvailable", inner="ErrorServerBusy", retry_after="1"
)
TIMED_OUT = Fault("timed-out", status=504, code="UnknownError")
TIMED_OUT_DONE = Fault("timed-out-done", STORES, status=504, code="UnknownError", done=True)
UNKNOWN_DONE = Fault("unknown-done", STORES, status=500, code="UnknownError", done=True)
TOKEN_REFUSED = Fault(
    "token-refused",
    ALL - {"upload", "upload-status", "upload-cancel"},
    status=401,
    code="InvalidAuthenticationToken",
    message="Lifetime validation failed, the token is expired.",
)
ACCEPTED_WITH_RETRY_AFTER = Fault("accepted-with-retry-after", SENDS, done=True, retry_after="1")
NOT_ACCEPTED_200 = Fault("not-accepted-200", SENDS, status=200)
GONE_DONE = Fault(
    "gone-done",
    frozenset({"send"}),
    status=404,
    code="ErrorItemNotFound",
    message="The specified object was not found in the store.",
    done=True,
)
CHUNK_LOST = Fault("chunk-lost", frozenset({"upload"}), done=True, part=0.5, cut=True)


def lagging(looks: int) -> Fault:
    """Let a send be accepted, and so many looks show the mail as a draft nevertheless."""
    return Fault(f"lagging-{looks}", SENDS, done=True, looks=looks)


def slow(seconds: float) -> Fault:
    """Let the reply come late."""
    return Fault(f"slow-{seconds:g}", done=True, delay_seconds=seconds)


EVERY_KIND: tuple[Fault, ...] = (
    CUT_BEFORE,
    CUT_AFTER,
    THROTTLED,
    THROTTLED_SILENTLY,
    UNAVAILABLE,
    TIMED_OUT,
    TIMED_OUT_DONE,
    UNKNOWN_DONE,
    TOKEN_REFUSED,
    ACCEPTED_WITH_RETRY_AFTER,
    NOT_ACCEPTED_200,
    GONE_DONE,
    CHUNK_LOST,
    lagging(2),
    TIMED_OUT_DONE.only(*SENDS).showing_draft(2),
)
"""One of each, none of which takes long."""
BY_NAME: Mapping[str, Fault] = {fault.name: fault for fault in EVERY_KIND}


class Schedule(Protocol):
    """Which request meets which fault; asked once a request, under the server's lock."""

    def choose(self, operation: str) -> Fault | None:
        """Return the fault of this request, None if it is served as it should be."""


@dataclass(slots=True)
class Every:
    """Every nth request meets a fault: of those that can happen to its operation, the next in turn.

    Args:
        n: 3 for every third request.
        operations: the requests that count.
    """

    n: int
    faults: Sequence[Fault]
    operations: frozenset[str] = ALL
    _seen: int = 0
    _turns: Counter[str] = field(default_factory=Counter)

    def choose(self, operation: str) -> Fault | None:
        """See ``Schedule``."""
        if operation not in self.operations:
            return None
        self._seen += 1
        fitting = [fault for fault in self.faults if operation in fault.operations]
        if self._seen % self.n or not fitting:
            return None
        self._turns[operation] += 1
        return fitting[(self._turns[operation] - 1) % len(fitting)]


@dataclass(slots=True)
class Seeded:
    """Each request meets a fault with this chance, both drawn from a seed."""

    chance: float
    faults: Sequence[Fault]
    seed: int = 1
    operations: frozenset[str] = ALL
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def choose(self, operation: str) -> Fault | None:
        """See ``Schedule``."""
        fitting = [fault for fault in self.faults if operation in fault.operations]
        if operation not in self.operations or self._random.random() >= self.chance or not fitting:
            return None
        return self._random.choice(fitting)


@dataclass(slots=True)
class Script:
    """The requests of some operations meet these faults, one after the other; None for none."""

    steps: list[Fault | None]
    operations: frozenset[str] = ALL

    def choose(self, operation: str) -> Fault | None:
        """See ``Schedule``."""
        if operation not in self.operations or not self.steps:
            return None
        return self.steps.pop(0)


def schedule_of(value: Mapping[str, Any]) -> Schedule:
    """Make a schedule from what the control address is told.

    ``{"kind": "every", "n": 3}``, ``{"kind": "seeded", "chance": 0.2, "seed": 7}`` or ``{"kind":
    "script", "steps": ["cut-after", null]}``, each with "faults" by name (absent: one of each) and
    "operations" (absent: all).
    """
    operations = frozenset(value.get("operations", ALL))
    faults = _named(value.get("faults", BY_NAME))
    if value["kind"] == "every":
        return Every(value["n"], faults, operations)
    if value["kind"] == "seeded":
        return Seeded(value["chance"], faults, value.get("seed", 1), operations)
    steps = [None if name is None else BY_NAME[name] for name in value["steps"]]
    return Script(steps, operations)


def _named(names: Iterable[str]) -> list[Fault]:
    return [BY_NAME[name] for name in names]
