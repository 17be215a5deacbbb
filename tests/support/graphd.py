"""A Microsoft Graph that misbehaves, for tests: v1.0 as far as a mail sender needs it, over HTTPS.

In a test, as threads of it (workers in other processes reach it as well)::

    with Graph(certificates(tmp_path / "tls")) as graph:
        graph.url                     # "https://127.0.0.1:PORT": graph_url with cloud = "custom"
        graph.ca_file                 # ca_file
        graph.faults(Every(3, EVERY_KIND))                # every third request meets a fault
        graph.script("send", TIMED_OUT_DONE, None)        # the next send does, the one after not
        ...
        assert graph.violations == []                     # every request had a published shape
        assert graph.deliveries_by(PROPERTY_ID) == {"job-1": 1, "job-2": 1}   # nobody had it twice
        assert [mail.subject for mail in graph.sent("jane@acme.example")] == ["Invoice 7"]

As a process of its own: ``GraphProcess`` in ``graphd_process``, with the same readings as JSON.

**Operations** (the names that schedules and ``requests`` use): create, get, list, update, delete,
send, sendmail, sent (``mailFolders/{folder}/messages``), attach, attachments, detach, session
(createUploadSession), upload (PUT), upload-status (GET of the uploadUrl), upload-cancel (DELETE).

**Tokens**: ``Graph(tokens=...)`` takes a set of tokens or what tells whether one is good; absent, each
is that is no expired JWT. ``graph.refuse(token)`` ends one: 401 InvalidAuthenticationToken from then
on; ``claims_of`` of ``graphd_tokens`` reads a JWT, say its audience. The application of a request is
its token's claim ``appid`` (or ``azp``), else "app"; ``/me`` is the mailbox of the claim ``upn``.

**Mailboxes**: every address is one, unless ``Graph(mailboxes=[...])`` says which there are (others:
404 ErrorInvalidUser). ``graph.mailbox(a).refusal = (403, "ErrorAccessDenied")`` or ``(404,
"MailboxNotEnabledForRESTAPI")`` refuses all; ``.send_as = set()`` lets only its own address stand in
From and Sender (403 ErrorSendAsDenied at the send); ``.size_limit_bytes`` is for a message.

**Faults** (``graphd_faults``; each on its own, or in a schedule ``Every``, ``Seeded`` or ``Script``):
CUT_BEFORE, CUT_AFTER, THROTTLED, THROTTLED_SILENTLY, UNAVAILABLE, TIMED_OUT, TIMED_OUT_DONE,
UNKNOWN_DONE, TOKEN_REFUSED, ACCEPTED_WITH_RETRY_AFTER, NOT_ACCEPTED_200, GONE_DONE, CHUNK_LOST,
``lagging(looks)``, ``slow(seconds)``; ``EVERY_KIND`` has one of each but slow. ``fault.waiting(30)``,
``.after(0.5)``, ``.showing_draft(2)`` and ``.only("send")`` make others of them. ``_DONE`` and AFTER
say that the request took effect. What is refused for its own sake is refused, whatever its fault;
``graph.reset()`` behaves again and forgets all but the mailboxes.

**Deliveries**: a ``/send`` that takes effect is one, also where the reply says otherwise, and also
for a draft that was sent and only *shows* as a draft still (``lagging``: it moves after so many GETs
or lists). A ``/send`` of what has moved: 404 ErrorItemNotFound, no delivery. Without ``Prefer:
IdType="ImmutableId"`` a message's id changes when it moves. ``sent`` and ``deliveries`` tell what is
true, not what a GET shows; of a sendMail without ``saveToSentItems`` there is only the delivery.

**Violations**: whatever is not of the published shape, beside being refused as Graph does; an
Authorization header at an upload address; another request over a connection that answered 503; a
client-request-id that is no GUID; an error of this server's own.

**At once**: ``graph.most_per_application`` and ``.most_per_mailbox``; with ``enforce=True`` more than
4 and 3 are answered 429. A request counts from its head until just before its reply is written.

Worth knowing: nextExpectedRanges is ``["0-"]`` at first and then without the dash, as the page shows
it; a range that came already is answered 416 (innerError code fragmentOverlap); a session is gone
(404 itemNotFound) once its last byte has come, so ``attachments`` tells whether it had; files over
8 MiB are kept as size and SHA-256; an inline file has room up to the 4 MiB of a request.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Self

from tests.support.graphd_faults import Fault, Schedule, Script
from tests.support.graphd_http import Server
from tests.support.graphd_service import Seen, Service
from tests.support.graphd_state import Delivery, Mailbox
from tests.support.graphd_tokens import Gate
from tests.support.graphd_views import SentMail, sent_mails

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.support.certificates import Certificates
    from tests.support.graphd_tokens import Tokens


class Graph:
    """A Graph for a ``with`` block; see the module.

    Args:
        certificates: the server's own, and who vouches for it.
        tokens: which are good.
        mailboxes: the addresses that there are; None: every address is one.
        enforce: answer 429 where too many requests are under way at once.
        port: 0 takes a free one.
        upload_url: where upload addresses begin; empty: at this server.
    """

    def __init__(
        self,
        certificates: Certificates,
        *,
        tokens: Tokens = None,
        mailboxes: Iterable[str] | None = None,
        enforce: bool = False,
        port: int = 0,
        upload_url: str = "",
    ) -> None:
        self.ca_file: Path = certificates.ca_file
        self.service = Service(Gate(tokens), mailboxes)
        self.service.enforce = enforce
        self._server = Server(self.service, certificates.server_context, port)
        self.service.uploads.base_url = upload_url or self.url

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    @property
    def url(self) -> str:
        """Where it is, without a version or a slash at the end."""
        return f"https://127.0.0.1:{self._server.port}"

    # What it shall do

    def faults(self, schedule: Schedule | None) -> None:
        """Misbehave by this schedule from now on, and by no other; None: behave."""
        with self.service.lock:
            self.service.schedules[:] = [] if schedule is None else [schedule]

    def script(self, operation: str, *steps: Fault | None) -> None:
        """Let the next requests of an operation meet these faults, before any other schedule."""
        with self.service.lock:
            self.service.schedules.insert(0, Script(list(steps), frozenset({operation})))

    def reset(self) -> None:
        """Behave, and forget what has happened; mailboxes and what is in them stay."""
        service = self.service
        with service.lock:
            service.schedules.clear()
            service.violations.clear()
            service.seen.clear()
            service.gate.refused.clear()
            service.flight.forget()

    def refuse(self, token: str) -> None:
        """Let a token be good no more."""
        with self.service.lock:
            self.service.gate.refused.add(token)

    def mailbox(self, address: str) -> Mailbox:
        """Return a mailbox, made if there was none, to be changed by the test."""
        with self.service.lock:
            return self.service.mailboxes.setdefault(address.lower(), Mailbox(address.lower()))

    # What has happened

    @property
    def violations(self) -> list[str]:
        """What clients did that they must not."""
        with self.service.lock:
            return list(self.service.violations)

    @property
    def requests(self) -> list[Seen]:
        """Every request, in the order in which they ended."""
        with self.service.lock:
            return list(self.service.seen)

    def count(self, operation: str) -> int:
        """Return how many requests of an operation there were."""
        return sum(request.operation == operation for request in self.requests)

    @property
    def deliveries(self) -> list[Delivery]:
        """Each time that a mail left, of all mailboxes."""
        with self.service.lock:
            boxes = self.service.mailboxes.values()
            return [delivery for box in boxes for delivery in box.deliveries]

    def deliveries_by(self, property_id: str) -> Counter[str | None]:
        """Return how often mails left, by the value of an extended property."""
        return Counter(delivery.property(property_id) for delivery in self.deliveries)

    def deliveries_by_message_id(self) -> Counter[str]:
        """Return how often mails left, by their internetMessageId."""
        return Counter(delivery.internet_message_id for delivery in self.deliveries)

    def sent(self, address: str) -> list[SentMail]:
        """Return the mails of a mailbox that left, whether or not they show as sent yet."""
        with self.service.lock:
            return sent_mails(self.mailbox(address), sent=True)

    def drafts(self, address: str) -> list[SentMail]:
        """Return the drafts of a mailbox that never left."""
        with self.service.lock:
            return sent_mails(self.mailbox(address), sent=False)

    @property
    def most_per_application(self) -> Counter[str]:
        """The most requests at once, by application."""
        return Counter(self.service.flight.applications)

    @property
    def most_per_mailbox(self) -> Counter[str]:
        """The most requests at once, by mailbox."""
        return Counter(self.service.flight.mailboxes)
