"""Requests to Microsoft Graph over HTTP: token, places, ids, and what became of each.

One client for each address, without the environment's proxies and authorities. Nothing is tried
again here but a refused token: whether a request may be repeated is its caller's to know.
"""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
import time
import uuid
from contextlib import aclosing
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from time import perf_counter
from typing import TYPE_CHECKING, Final, cast

import httpx

from worker.errors import Held
from worker.outcome import HoldTarget, TargetKind
from worker.pace import scope_of_app, scope_of_connections
from worker.transports.graph_failures import Heeding, Unsure, check
from worker.transports.graph_replies import Answer, read_answer
from worker.transports.graph_request import (
    LONGEST_REPLY_SECONDS,
    Exchange,
    address_of,
    blocks_of,
    headers_of,
    patience_seconds,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from config.effective import EffectiveSettings
    from config.registration import Registration
    from worker.transports.base import Tokens
    from worker.transports.graph_request import Ask
    from worker.transports.places import Places

APP_PLACES: Final = 4
"""Requests in flight for one app registration (graph/throttling-limits, Outlook)."""
MAILBOX_PLACES: Final = 3
"""… and for one mailbox, where ``mailbox_connections`` says nothing."""
_UNAVAILABLE: Final = 503
_UNAUTHORISED: Final = 401

# At INFO it writes every address it asks, and a mailbox is part of that.
logging.getLogger("httpx").setLevel(logging.WARNING)


class GraphClient:
    """Sends requests; one instance a process, on one event loop.

    Args:
        tell: told of every request.
        now_wall: Unix seconds.
        http: makes what carries the requests to an address; a test passes its own.
    """

    def __init__(
        self,
        tokens: Tokens,
        places: Places,
        *,
        tell: Callable[[Exchange], None] | None = None,
        now_wall: Callable[[], float] = time.time,
        http: Callable[[Registration], httpx.AsyncClient] | None = None,
    ) -> None:
        self._tokens = tokens
        self._places = places
        self._tell = tell
        self._now_wall = now_wall
        self._http = http or _client
        self._heeding = Heeding(time.monotonic)
        self._lines: dict[tuple[str, str], _Line] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def heed(self, settings: EffectiveSettings) -> None:
        """Find out without a request whether one makes sense.

        Raises:
            Held: the settings lack something, or another mail has just met what would be met again.
        """
        _registration(settings)
        self._heeding.heed(settings)

    async def ask(self, ask: Ask) -> Answer:
        """Send one request; with a fresh token once more where the token was refused.

        Raises:
            Held: no token, no connection, or Graph says so; what another mail has just met counts.
            BeginRefused: no place could be had, or ``before`` refused: the request has not left.
            Rejected, Missing, TooSmall: Graph says so.
            Unsure: it left, and nobody knows whether it took effect.
        """
        registration = _registration(ask.settings)
        try:
            return check(await self._answer(ask, registration), ask.operation, ask.settings)
        except Held as held:
            self._heeding.note(held)
            raise

    async def _answer(self, ask: Ask, registration: Registration) -> Answer:
        begun = False
        while True:
            token = "" if ask.url else await self._tokens.token(ask.settings, "graph")
            async with self._places.taken(*_scopes(ask.settings, registration)):
                if not begun:
                    self._heeding.heed(ask.settings)
                if ask.before is not None and not begun:
                    await ask.before()
                begun = True
                answer = await self._exchange(ask, registration, token)
            if answer.status != _UNAUTHORISED or ask.url:
                return answer
            if not self._tokens.refused(ask.settings, "graph", token):
                return answer

    async def close(self) -> None:
        """Close every connection and give the places back; safe to call twice."""
        lines = list(self._lines.values())
        self._lines.clear()
        for line in lines:
            await line.client.aclose()
        while self._closing:
            await asyncio.wait(self._closing)
        await self._places.close()

    async def _exchange(self, ask: Ask, registration: Registration, token: str) -> Answer:
        key = registration.graph_url, str(registration.ca_file or "")
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = _Line(self._http(registration))
        client_request_id, started = str(uuid.uuid4()), perf_counter()
        line.busy += 1
        response: httpx.Response | None = None
        answer = Answer(0)
        try:
            async with asyncio.timeout(patience_seconds(ask.settings)):
                request = line.client.build_request(
                    ask.method,
                    ask.url or address_of(registration, ask),
                    content=None if ask.content is None else blocks_of(ask.content),
                    headers=headers_of(ask, token, client_request_id),
                    timeout=_timeout(ask.settings),
                )
                response = await line.client.send(request, stream=True)
                if response.status_code == _UNAVAILABLE:
                    self._retire(key, line)
                    body = await _all_but_the_end(response)
                else:
                    body = await response.aread()
            answer = read_answer(response.status_code, response.headers, body, self._now_wall)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise _unreached(ask.settings, error) from error
        except (httpx.TransportError, TimeoutError) as error:
            raise Unsure(
                f"the connection to Graph broke: {type(error).__name__}", lost=True
            ) from error
        finally:
            line.busy -= 1
            if line.retired and not line.busy:
                self._close_later(line)
            self._note(ask, answer, response, client_request_id, perf_counter() - started)
        return answer

    def _retire(self, key: tuple[str, str], line: _Line) -> None:
        """Let no further request use these connections (graph/best-practices-concept, on 503)."""
        line.retired = True
        if self._lines.get(key) is line:
            del self._lines[key]

    def _close_later(self, line: _Line) -> None:
        task = asyncio.get_running_loop().create_task(line.client.aclose())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _note(
        self,
        ask: Ask,
        answer: Answer,
        response: httpx.Response | None,
        client_request_id: str,
        seconds: float,
    ) -> None:
        if self._tell is None:
            return
        headers: Mapping[str, str] = {} if response is None else response.headers
        self._tell(
            Exchange(
                operation=ask.operation,
                job_id=ask.job_id,
                account=ask.settings.account,
                status=answer.status,
                codes=answer.codes,
                client_request_id=client_request_id,
                request_id=headers.get("request-id", ""),
                diagnostic=headers.get("x-ms-ags-diagnostic", "")[:500],
                seconds=seconds,
            )
        )


@dataclass(slots=True, eq=False)
class _Line:
    """The connections to one address; retired ones are closed when nobody uses them."""

    client: httpx.AsyncClient
    busy: int = 0
    retired: bool = False


def _client(registration: Registration) -> httpx.AsyncClient:
    """A client that trusts whom the settings name, whatever the environment says.

    It keeps no cookies: all mailboxes of all companies share it.
    """
    ca_file = registration.ca_file
    return httpx.AsyncClient(
        verify=ssl.create_default_context(cafile=None if ca_file is None else str(ca_file)),
        trust_env=False,
        follow_redirects=False,
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=16),
    )


def _registration(settings: EffectiveSettings) -> Registration:
    account = HoldTarget(TargetKind.ACCOUNT, settings.account)
    if settings.registration is None:
        raise Held(
            f"{settings.account}: Microsoft 365 needs an app registration: write [microsoft_365]",
            target=account,
        )
    if not settings.mailbox:
        raise Held(
            f"{settings.account}: Microsoft 365 needs a mailbox: write username or address in the"
            " user's file",
            target=account,
        )
    return settings.registration


def _scopes(
    settings: EffectiveSettings, registration: Registration
) -> tuple[tuple[str, int], tuple[str, int]]:
    own = settings.mailbox_connections or MAILBOX_PLACES
    return (
        (scope_of_connections(settings.account), own),
        (scope_of_app(registration), APP_PLACES),
    )


async def _all_but_the_end(response: httpx.Response) -> bytes:
    """Read a body without its end, so that its connection is closed and not kept.

    A request that is on its way to the pool already could get it otherwise.
    """
    body, length = b"", response.headers.get("content-length")
    async with aclosing(cast("AsyncGenerator[bytes]", response.aiter_raw())) as chunks:
        async for chunk in chunks:
            body += chunk
            if _is_json(body) if length is None else len(body) >= int(length):
                break
    await response.aclose()
    return body


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except ValueError:
        return False
    return True


def _timeout(settings: EffectiveSettings) -> httpx.Timeout:
    patience = min(settings.reply_timeout_seconds, LONGEST_REPLY_SECONDS)
    return httpx.Timeout(patience, connect=settings.connection_timeout_ms / 1000)


def _unreached(settings: EffectiveSettings, error: Exception) -> Held:
    """The error for a server that cannot be reached: the request has surely not left."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLCertVerificationError):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        reason = (
            f"its certificate is not trusted ({cause.verify_message}): set ca_file in"
            " [microsoft_365]"
        )
    elif isinstance(error, httpx.ConnectTimeout):
        reason = f"no connection within {settings.connection_timeout_ms} ms"
    else:
        reason = f"no connection ({error})"
    return Held(
        f"{settings.server}: {reason}",
        target=HoldTarget(TargetKind.SERVER, settings.server),
    )
