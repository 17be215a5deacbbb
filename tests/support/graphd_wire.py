"""What the Graph for tests reads and writes: a request, a reply, and an error as Microsoft shapes it.

Sources: learn.microsoft.com/graph/errors; learn.microsoft.com/graph/best-practices-concept.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from socket import socket

JSON_TYPE = (
    "application/json;odata.metadata=minimal;odata.streaming=true;"
    "IEEE754Compatible=false;charset=utf-8"
)
DIAGNOSTIC = json.dumps(
    {
        "ServerInfo": {
            "DataCenter": "Test",
            "Slice": "E",
            "Ring": "1",
            "ScaleUnit": "001",
            "RoleInstance": "graphd",
        }
    }
)


@dataclass(slots=True)
class Request:
    """One request, as it came.

    Attributes:
        operation: its name, see ``graphd_routes``.
        mailbox: whose it is; empty for an upload until the session is known.
        parts: what the path names beside the mailbox (a message's id, an attachment's).
        query: the query's parameters, decoded.
        headers: by lower-case name.
        connection: the number of the connection that it came over.
        request_id: what the server calls it.
    """

    operation: str
    mailbox: str
    parts: tuple[str, ...]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    connection: int = 0
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def immutable(self) -> bool:
        """Whether the client prefers immutable ids (graph/outlook-immutable-id)."""
        wanted = self.headers.get("prefer", "").replace(" ", "").split(",")
        return 'IdType="ImmutableId"' in wanted

    @property
    def media_type(self) -> str:
        """The Content-Type without its parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


@dataclass(slots=True)
class Reply:
    """One reply; ``value`` is its JSON body, None for an empty one.

    Attributes:
        cut: end the connection instead of replying.
        delay_seconds: how long the reply is kept back.
    """

    status: int
    value: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    delay_seconds: float = 0.0

    def encode(self, request: Request) -> tuple[dict[str, str], bytes]:
        """Return the headers and the body, with what Graph sends along with each."""
        body = b"" if self.value is None else json.dumps(self.value).encode()
        headers = {
            "Date": formatdate(usegmt=True),
            "Content-Length": str(len(body)),
            "request-id": request.request_id,
            "x-ms-ags-diagnostic": DIAGNOSTIC,
            **({"Content-Type": JSON_TYPE} if body else {}),
            **self.headers,
        }
        if "client-request-id" in request.headers:
            headers["client-request-id"] = request.headers["client-request-id"]
        if request.immutable:
            headers["Preference-Applied"] = 'IdType="ImmutableId"'
        return headers, body


@dataclass(eq=False, slots=True)
class Exchange:
    """One request under way.

    Attributes:
        application: whose token it has.
        socket: of the connection that it came over.
        reply: what is replied without a look at the body.
        fault: what it met.
    """

    request: Request
    application: str
    socket: socket
    reply: Reply | None = None
    fault: str = ""


class Refused(Exception):
    """A request is answered with an error.

    Attributes:
        shape: whether the request is not of the published shape, and so a violation.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        inner: str = "",
        shape: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.inner = inner
        self.shape = shape
        self.headers = dict(headers or {})

    def reply(self, request: Request) -> Reply:
        """Return it as Graph writes it; ``inner`` is the more specific code."""
        innermost: dict[str, Any] = {
            "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
            "request-id": request.request_id,
            "client-request-id": request.headers.get("client-request-id", request.request_id),
        }
        if self.inner:
            innermost["code"] = self.inner
        error = {"code": self.code, "message": self.message, "innerError": innermost}
        return Reply(self.status, {"error": error}, dict(self.headers))


def misshapen(code: str, message: str, status: int = 400, *, inner: str = "") -> Refused:
    """Return the refusal of a request that is not of the published shape."""
    return Refused(status, code, message, inner=inner, shape=True)
