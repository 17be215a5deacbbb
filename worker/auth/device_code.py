"""The device-code flow (RFC 8628): a person signs in in any browser, with a code that is shown here."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msal
import requests

from worker.auth.failures import Refusal
from worker.auth.logins import public_application
from worker.auth.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from worker.auth.asking import Asking

_PENDING: Final = frozenset({"authorization_pending", "slow_down"})


@dataclass(frozen=True, slots=True)
class Code:
    """What a person needs: where to go, what to enter there, and for how many seconds it is good."""

    address: str
    code: str
    seconds: float


class DeviceFlow:
    """One sign-in, for a ``with`` block; blocks, and raises what ``failures.EXPECTED`` lists."""

    def __init__(
        self,
        asking: Asking,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._asking = asking
        self._sleep = sleep
        self._clock = clock
        self._cache = msal.SerializableTokenCache()
        self._session = Session(asking.registration.ca_file)
        self._flow: dict[str, Any] = {}
        self._app: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._session.close()

    @property
    def cache(self) -> str:
        """MSAL's cache with everything that came of it, to be kept."""
        return str(self._cache.serialize())

    def begin(self) -> Code:
        """Ask for a code."""
        self._app = public_application(self._asking.registration, self._session, self._cache)
        self._flow = self._app.initiate_device_flow(scopes=self._asking.scopes)
        if "user_code" not in self._flow:
            raise Refusal(self._flow)
        # With 0 MSAL would ask again and again without ever coming back.
        self._flow["interval"] = max(1, self._flow["interval"])
        return Code(
            self._flow["verification_uri"], self._flow["user_code"], self._flow["expires_in"]
        )

    def wait(self) -> str:
        """Ask again and again, as often as the authority likes it, until a person has signed in; who."""
        ends = self._clock() + self._flow["expires_in"]
        while self._clock() < ends:
            self._sleep(self._flow["interval"])
            try:
                result = self._app.acquire_token_by_device_flow(
                    self._flow, exit_condition=lambda _: True
                )
            except requests.RequestException:
                continue  # the code stays good meanwhile
            if result.get("error") not in _PENDING:
                return _name(result)
        raise Refusal({"error": "expired_token"})

    def also(self, asking: Asking) -> bool:
        """Whether the same person's consent covers another resource too."""
        try:
            result = self._app.acquire_token_silent_with_error(
                asking.scopes, self._app.get_accounts()[0]
            )
        except requests.RequestException:
            return False
        return bool(result) and "access_token" in result


def _name(result: dict[str, Any]) -> str:
    if "access_token" not in result:
        raise Refusal(result)
    return str(result.get("id_token_claims", {}).get("preferred_username", ""))
