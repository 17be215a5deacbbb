"""How the Graph for tests serves a request: who, which mailbox, which fault, what is done and replied."""

from __future__ import annotations

import threading
import traceback
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from tests.support import graphd_files, graphd_mail
from tests.support.graphd_control import control
from tests.support.graphd_files import LARGEST_CHUNK_BYTES, Uploads
from tests.support.graphd_flight import Flight
from tests.support.graphd_routes import route
from tests.support.graphd_state import Mailbox
from tests.support.graphd_tokens import Gate, bearer
from tests.support.graphd_wire import Exchange, Refused, Reply, Request, misshapen

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.support.graphd_faults import Fault, Schedule
    from tests.support.graphd_http import Connection

MAX_REQUEST_BYTES = 4 * 1024 * 1024
APPLICATION_LIMIT, MAILBOX_LIMIT = 4, 3


@dataclass(frozen=True, slots=True)
class Seen:
    """One request that was served.

    Attributes:
        status: what was replied; 0 where the connection was cut.
        fault: the name of the one that it met, empty for none.
        connection: the number of its connection.
        client_request_id: as the client called it.
        size: of its body, in bytes.
    """

    operation: str
    mailbox: str
    status: int
    fault: str
    connection: int
    client_request_id: str
    size: int


class Service:
    """Serves requests from a state that is guarded by one lock.

    Args:
        gate: lets tokens in.
        names: the mailboxes that there are; None: every address is one.
    """

    def __init__(self, gate: Gate, names: Iterable[str] | None) -> None:
        self.lock = threading.RLock()
        self.gate = gate
        self.flight = Flight()
        self.uploads = Uploads()
        self.schedules: list[Schedule] = []
        self.violations: list[str] = []
        self.seen: list[Seen] = []
        self.enforce = False
        self.mailboxes: dict[str, Mailbox] = {}
        self._open = names is None
        for name in names or ():
            self.mailboxes[name.lower()] = Mailbox(name.lower())

    # What the server calls

    def begin(
        self, method: str, target: str, headers: Mapping[str, str], connection: Connection
    ) -> Exchange:
        """See ``graphd_http.Application``."""
        split = urlsplit(target)
        found = route(method, split.path)
        operation, parts = found or ("unknown", (split.path,))
        who = bearer(headers)
        mailbox, application = "", who.application
        if operation.startswith("upload"):
            with self.lock:
                session = self.uploads.sessions.get(parts[0])
            if session is not None:
                mailbox, application = session.mailbox.address, session.application
        elif parts and operation != "unknown":
            named = parts[0].lower()
            mailbox, parts = who.user.lower() if named == "me" else named, parts[1:]
        request = Request(
            operation, mailbox, parts, dict(parse_qsl(split.query, keep_blank_values=True)),
            headers, b"", connection.number,
        )  # fmt: skip
        exchange = Exchange(request, application, connection.request)
        if operation.startswith("control"):
            return exchange
        counts = self.flight.begin(exchange)
        try:
            self._framed(method, request, connection)
            if self.enforce and (counts[0] > APPLICATION_LIMIT or counts[1] > MAILBOX_LIMIT):
                raise Refused(
                    429,
                    "ApplicationThrottled",
                    "Application is over its MailboxConcurrency limit.",
                    headers={"Retry-After": "1"},
                )
        except Refused as refused:
            exchange.reply = self._refuse(request, refused)
        return exchange

    def answer(self, exchange: Exchange) -> Reply:
        """See ``graphd_http.Application``."""
        request = exchange.request
        try:
            with self.lock:
                return self._answer(exchange)
        except Refused as refused:
            return self._refuse(request, refused)
        except Exception:  # noqa: BLE001 - whatever it is, a test has to hear of it
            self.violate(f"graphd failed at {request.operation}: {traceback.format_exc()}")
            return Refused(500, "generalException", "graphd has a fault.").reply(request)

    def end(self, exchange: Exchange, reply: Reply | None) -> None:
        """See ``graphd_http.Application``."""
        if not self.flight.end(exchange):
            return
        request = exchange.request
        status = 0 if reply is None or reply.cut else reply.status
        with self.lock:
            self.seen.append(
                Seen(
                    request.operation,
                    request.mailbox,
                    status,
                    exchange.fault,
                    request.connection,
                    request.headers.get("client-request-id", ""),
                    len(request.body),
                )
            )

    def failed(self, error: BaseException | None) -> None:
        """See ``graphd_http.Application``."""
        self.violate(f"graphd failed: {error!r}")

    # How it is done

    def violate(self, what: str) -> None:
        """Note something that a client must not do."""
        with self.lock:
            self.violations.append(what)

    def _refuse(self, request: Request, refused: Refused) -> Reply:
        if refused.shape:
            self.violate(f"{request.operation}: {refused}")
        return refused.reply(request)

    def _framed(self, method: str, request: Request, connection: Connection) -> None:
        if connection.given_up:
            self.violate(f"{request.operation}: over a connection that had answered 503")
        name = request.headers.get("client-request-id")
        if name is not None and not _is_guid(name):
            self.violate(f"{request.operation}: client-request-id is no GUID")
        if "transfer-encoding" in request.headers or (
            method in {"POST", "PUT", "PATCH"} and "content-length" not in request.headers
        ):
            connection.close_connection = "transfer-encoding" in request.headers
            raise misshapen("BadRequest", "A Content-Length is required.", 411)
        most = LARGEST_CHUNK_BYTES if request.operation == "upload" else MAX_REQUEST_BYTES
        if int(request.headers.get("content-length") or 0) > most:
            raise misshapen("BadRequest", "The maximum request length supported is 4MB.", 413)

    def _answer(self, exchange: Exchange) -> Reply:
        request = exchange.request
        if request.operation == "unknown":
            raise misshapen(
                "BadRequest", f"Resource not found for the segment '{request.parts[0]}'."
            )
        if request.operation.startswith("control"):
            return control(self, request)
        uploading = request.operation.startswith("upload")
        if not uploading:
            self.gate.let_in(request.headers)
        fault = self._fault(request.operation)
        exchange.fault = fault.name if fault else ""
        if fault is not None and not fault.done:
            return fault.spoil(request, None)
        reply = self._upload(request, fault) if uploading else self._mail(exchange, fault)
        return reply if fault is None else fault.spoil(request, reply)

    def _fault(self, operation: str) -> Fault | None:
        faults = [schedule.choose(operation) for schedule in self.schedules]
        return next((fault for fault in faults if fault is not None), None)

    def _upload(self, request: Request, fault: Fault | None) -> Reply:
        session = self.uploads.find(request)
        if request.operation == "upload":
            return self.uploads.put(session, request, fault)
        if request.operation == "upload-status":
            return self.uploads.status(session)
        return self.uploads.cancel(session)

    def _mail(self, exchange: Exchange, fault: Fault | None) -> Reply:
        request = exchange.request
        mailbox = self.reach(request.mailbox)
        if request.operation == "session":
            return self.uploads.open(mailbox, request, exchange.application)
        operations = graphd_mail.OPERATIONS | graphd_files.OPERATIONS
        return operations[request.operation](mailbox, request, fault)

    def reach(self, name: str) -> Mailbox:
        """Return a mailbox for a request.

        Raises:
            Refused: there is none such, or it is not to be had.
        """
        if self._open and "@" in name:
            self.mailboxes.setdefault(name, Mailbox(name))
        mailbox = self.mailboxes.get(name)
        if mailbox is None:
            raise Refused(404, "ErrorInvalidUser", f"The requested user '{name}' is invalid.")
        if mailbox.refusal is not None:
            raise Refused(*mailbox.refusal, "The mailbox is not to be had.")
        return mailbox


def _is_guid(name: str) -> bool:
    try:
        return str(uuid.UUID(name)) == name.lower()
    except ValueError:
        return False
