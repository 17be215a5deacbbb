"""The HTTP that tokens are fetched with: requests, made to trust whom the settings name, and nobody else.

MSAL gets a session of ours. Left to itself it waits for ever, and requests lets the variables
``REQUESTS_CA_BUNDLE`` and ``CURL_CA_BUNDLE`` win over ``session.verify`` and sends what it finds in a
``.netrc``.
"""

from __future__ import annotations

import ssl
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

import requests
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies

if TYPE_CHECKING:
    from pathlib import Path

CONNECT_SECONDS: Final = 10.0
READ_SECONDS: Final = 20.0
TOO_MANY: Final = 429
_SERVER_ERROR: Final = 500


class Busy(requests.RequestException):
    """The authority answers 429 or 5xx: it may work later.

    Attributes:
        status: of the reply.
        retry_after_seconds: when it wants to be asked again, where it says so.
    """

    def __init__(self, status: int, retry_after_seconds: float | None) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.retry_after_seconds = retry_after_seconds


class NoJson(requests.RequestException):
    """Somebody else answers in the authority's place: a proxy, a portal.

    Attributes:
        status: of the reply.
    """

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status} without JSON")
        self.status = status


class Session(requests.Session):
    """A session with time-outs, its own idea of trust, and errors that MSAL would swallow.

    MSAL turns 429 into a ``dict`` without the Retry-After, and remembers it in its own way; here
    both 429 and 5xx raise.

    Args:
        ca_file: whose certificates to trust; None for the system's authorities.
        by_proxy: go by the proxy that the environment names (``HTTPS_PROXY``, ``NO_PROXY``).
    """

    def __init__(self, ca_file: Path | None = None, *, by_proxy: bool = True) -> None:
        super().__init__()
        self.trust_env = False
        self._by_proxy = by_proxy
        self.mount("https://", _Adapter(ssl.create_default_context(cafile=ca_file)))

    def request(self, method: str, url: str, **more: Any) -> requests.Response:  # type: ignore[override]  # MSAL calls it by these names alone
        """Send one request.

        Raises:
            Busy: 429 or 5xx.
            NoJson: the reply is none of the authority's.
            requests.RequestException: there is no reply.
        """
        more.setdefault("timeout", (CONNECT_SECONDS, READ_SECONDS))
        if self._by_proxy:
            more.setdefault("proxies", get_environ_proxies(url, no_proxy=None))
        more["allow_redirects"] = False  # whoever is sent elsewhere takes the secret along
        response = super().request(method, url, **more)
        if response.status_code == TOO_MANY or response.status_code >= _SERVER_ERROR:
            wish = retry_after_seconds(response.headers.get("Retry-After"), time.time())
            raise Busy(response.status_code, wish)
        try:
            response.json()
        except ValueError:
            raise NoJson(response.status_code) from None
        return response


class _Adapter(HTTPAdapter):
    """Checks certificates with the context that it is given, and loads no others beside it."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__()

    def init_poolmanager(self, *args: Any, **more: Any) -> None:
        """Open connections with the context."""
        super().init_poolmanager(*args, ssl_context=self._context, **more)

    def proxy_manager_for(self, proxy: str, **more: Any) -> Any:
        """The same through a proxy."""
        return super().proxy_manager_for(proxy, ssl_context=self._context, **more)

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Leave it to the context: requests would add the authorities that it brings along."""
        del url, verify, cert
        conn.cert_reqs = "CERT_REQUIRED"


def retry_after_seconds(value: str | None, now: float) -> float | None:
    """Read a Retry-After header (RFC 9110, 10.2.3): seconds, or a date; None where it is neither.

    Args:
        now: Unix seconds.
    """
    if value is None:
        return None
    try:
        return float(value)
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except ValueError:
        return None
