"""What a request to Graph is made of: its address, its headers, its content and how long it may take."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from config.effective import EffectiveSettings
    from config.registration import Registration
    from worker.transports.graph_replies import Operation

LONGEST_REPLY_SECONDS: Final = 120.0
"""For one request."""
_BLOCK_BYTES: Final = 256 * 1024
_IMMUTABLE: Final = 'IdType="ImmutableId"'


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request, for the log; no address is in it.

    Attributes:
        status: 0 where no answer came.
        request_id: Graph's name for it; ``diagnostic`` says which of its servers it was.
    """

    operation: Operation
    job_id: str
    account: str
    status: int
    codes: tuple[str, ...]
    client_request_id: str
    request_id: str
    diagnostic: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Ask:
    """One request.

    Attributes:
        path: below the mailbox; each part is quoted.
        url: instead of it a whole address that needs no token (an upload's).
        before: awaited when everything else is ready, right before the request leaves.
    """

    operation: Operation
    settings: EffectiveSettings
    job_id: str
    method: str
    path: tuple[str, ...] = ()
    query: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = field(default=None, repr=False)
    url: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    before: Callable[[], Awaitable[None]] | None = None


def address_of(registration: Registration, ask: Ask) -> str:
    """Return where a request goes."""
    parts = ("users", ask.settings.mailbox, *ask.path)
    path = "/".join(quote(part, safe="") for part in parts)
    # In OData a space is %20, and a plus is a plus.
    query = urlencode(ask.query, quote_via=quote, safe="")
    return f"{registration.graph_url}/v1.0/{path}" + (f"?{query}" if query else "")


def headers_of(ask: Ask, token: str, client_request_id: str) -> dict[str, str]:
    """Return a request's headers; an upload's address gets no token and no preference."""
    headers = {
        "Accept": "application/json",
        "Accept-Encoding": "identity",  # answers are small, and one is read before it ends
        "client-request-id": client_request_id,
    }
    if not ask.url:
        headers |= {
            "Authorization": f"Bearer {token}",
            "Prefer": _IMMUTABLE,
            "return-client-request-id": "true",
        }
    if ask.content is not None:
        headers["Content-Length"] = str(len(ask.content))
    if ask.content:
        headers["Content-Type"] = "application/json"
    return {**headers, **ask.headers}


async def blocks_of(content: bytes) -> AsyncIterator[bytes]:
    """The content piece by piece; when the last has gone nothing holds it any more.

    A request keeps bytes that it was given, and response and request hold each other until the
    next garbage collection: an upload would stay in memory whole.
    """
    for first in range(0, len(content), _BLOCK_BYTES):
        yield content[first : first + _BLOCK_BYTES]


def patience_seconds(settings: EffectiveSettings) -> float:
    """For one request as a whole, the way there too."""
    return settings.connection_timeout_ms / 1000 + min(
        settings.reply_timeout_seconds, LONGEST_REPLY_SECONDS
    )
