"""What is asked of one mailbox on behalf of one job; each method is one request.

Sources: learn.microsoft.com/graph/api/user-post-messages, message-get, message-send,
message-delete, message-post-attachments, attachment-createuploadsession, user-list-messages and
graph/outlook-immutable-id.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from worker.errors import Deferred
from worker.transports.graph_failures import Missing, Unsure
from worker.transports.graph_message import JOB_PROPERTY
from worker.transports.graph_replies import Operation
from worker.transports.graph_request import Ask

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from config.effective import EffectiveSettings
    from worker.transports.graph_client import GraphClient
    from worker.transports.graph_message import Part
    from worker.transports.graph_replies import Answer

_FIELDS: Final = "id,isDraft,webLink"
_UPLOAD_HOSTS: Final[Mapping[str, tuple[str, ...]]] = {
    "global": (".office.com", ".office365.com"),
    "us-gov": (".office365.us", ".office.com", ".office365.com"),
    "us-dod": (".office365.us", ".office.com", ".office365.com"),
    "china": (".outlook.cn", ".partner.outlook.cn"),
}
"""How the hosts end that take uploads, beside Graph itself."""


@dataclass(frozen=True, slots=True)
class Found:
    """A message of the job, as the mailbox shows it."""

    remote_id: str
    web_link: str
    is_draft: bool


@dataclass(frozen=True, slots=True)
class GraphMailbox:
    """The mailbox of a job; every method raises what ``GraphClient.ask`` does."""

    client: GraphClient
    settings: EffectiveSettings
    job_id: str

    async def create(self, content: bytes) -> Found:
        """Make a draft."""
        made = await self._ask(Operation.CREATE, "POST", ("messages",), content=content)
        return self._found(made.value)

    async def look(self, remote_id: str) -> Found:
        """See what has become of a message; it keeps its id when it moves to Sent Items."""
        path = ("messages", remote_id)
        seen = await self._ask(Operation.LOOK, "GET", path, query={"$select": _FIELDS})
        return self._found(seen.value)

    async def find(self) -> list[Found]:
        """Find every message of the job in the whole mailbox, by the property with its id."""
        where = (
            f"singleValueExtendedProperties/Any(ep: ep/id eq '{JOB_PROPERTY}'"
            f" and ep/value eq '{self.job_id}')"
        )
        return await self._find(where)

    async def find_sent(self, message_id: str) -> bool:
        """Whether the mailbox has sent a mail with this Message-ID."""
        quoted = message_id.replace("'", "''")
        return any(
            not each.is_draft for each in await self._find(f"internetMessageId eq '{quoted}'")
        )

    async def delete(self, remote_id: str) -> None:
        """Delete a draft; one that is not there is deleted."""
        try:
            await self._ask(Operation.DELETE, "DELETE", ("messages", remote_id))
        except Missing:
            return

    async def attach(self, remote_id: str, part: Part) -> None:
        """Add a small attachment."""
        content = json.dumps(part.as_json(), ensure_ascii=False).encode()
        path = ("messages", remote_id, "attachments")
        await self._ask(Operation.ATTACH, "POST", path, content=content)

    async def attached(self, remote_id: str) -> list[str]:
        """The names of the attachments that a draft has."""
        path = ("messages", remote_id, "attachments")
        seen = await self._ask(Operation.ATTACHED, "GET", path, query={"$select": "name"})
        return [str(each.get("name", "")) for each in _listed(seen)]

    async def open_upload(self, remote_id: str, part: Part) -> str:
        """Begin to add a large attachment; the address that takes it.

        Raises:
            Deferred: the address is none of Graph's: nothing is sent there.
        """
        item = {"attachmentType": "file", "size": part.size, **part.described()}
        path = ("messages", remote_id, "attachments", "createUploadSession")
        content = json.dumps({"AttachmentItem": item}, ensure_ascii=False).encode()
        opened = await self._ask(Operation.SESSION, "POST", path, content=content)
        url = str((opened.value or {}).get("uploadUrl", ""))
        if not self._is_expected(url):
            raise Deferred(
                f"{self.settings.server}: the attachment should go to another server"
                f" ({urlsplit(url).hostname}), which is none of Microsoft 365's",
                mail_sent=False,
            )
        return url

    async def upload(self, url: str, first: int, total: int, chunk: bytes) -> Answer:
        """Send a piece of a large attachment; the address needs no token, and gets none."""
        last = first + len(chunk) - 1
        return await self.client.ask(
            Ask(
                operation=Operation.UPLOAD,
                settings=self.settings,
                job_id=self.job_id,
                method="PUT",
                url=url,
                content=chunk,
                headers={
                    "Content-Type": "application/octet-stream",
                    "Content-Range": f"bytes {first}-{last}/{total}",
                },
            )
        )

    async def uploaded(self, url: str) -> Answer:
        """Ask how far an upload has come."""
        return await self.client.ask(
            Ask(Operation.UPLOAD, self.settings, self.job_id, "GET", url=url)
        )

    async def send(self, remote_id: str, before: Callable[[], Awaitable[None]]) -> Answer:
        """Send a draft; ``before`` is awaited right before the request leaves."""
        path = ("messages", remote_id, "send")
        return await self._ask(Operation.SEND, "POST", path, content=b"", before=before)

    async def _find(self, where: str) -> list[Found]:
        query = {"$filter": where, "$select": _FIELDS, "$top": "10"}
        found = await self._ask(Operation.FIND, "GET", ("messages",), query=query)
        return [self._found(each) for each in _listed(found)]

    async def _ask(
        self,
        operation: Operation,
        method: str,
        path: tuple[str, ...],
        *,
        query: Mapping[str, str] | None = None,
        content: bytes | None = None,
        before: Callable[[], Awaitable[None]] | None = None,
    ) -> Answer:
        return await self.client.ask(
            Ask(
                operation=operation,
                settings=self.settings,
                job_id=self.job_id,
                method=method,
                path=path,
                query=query or {},
                content=content,
                before=before,
            )
        )

    def _found(self, value: Mapping[str, Any] | None) -> Found:
        if not value or not isinstance(value.get("id"), str):
            raise Unsure("Microsoft Graph answered without the message's id")
        # Without a link nobody could tell that the draft is whole (graph_draft).
        link = value.get("webLink") or f"{self._graph_url}/v1.0/users/messages/{value['id']}"
        return Found(value["id"], str(link), value.get("isDraft") is not False)

    @property
    def _graph_url(self) -> str:
        return "" if self.settings.registration is None else self.settings.registration.graph_url

    def _is_expected(self, url: str) -> bool:
        """Whether an address is Graph's or Exchange's own: it gets the mail's content."""
        asked, own = urlsplit(url), urlsplit(self._graph_url)
        if asked.scheme != "https":
            return False
        cloud = "" if self.settings.registration is None else self.settings.registration.cloud
        host = f".{asked.hostname or ''}"
        return asked.netloc == own.netloc or host.endswith(_UPLOAD_HOSTS.get(cloud, ("\0",)))


def _listed(answer: Answer) -> list[Mapping[str, Any]]:
    """What a list holds.

    Raises:
        Unsure: it is no list: that is not to say that there is nothing.
    """
    listed = (answer.value or {}).get("value")
    if not isinstance(listed, list):
        raise Unsure("Microsoft Graph answered without the list that was asked for")
    return listed
