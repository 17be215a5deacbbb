"""Where each owner's tokens come from; everything that needs MSAL hangs on this module.

It is imported when the first token is wanted: 15 MB and 0.2 s that a worker without Microsoft 365
does not pay for.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from worker.auth import failures
from worker.auth.grants import Application, ManagedIdentity
from worker.auth.logins import SignedIn

if TYPE_CHECKING:
    from worker.auth.asking import Asking
    from worker.auth.grants import Fetched, Source
    from worker.auth.logins import Logins
    from worker.errors import Held

_MOST_APPLICATIONS: Final = 1024


class Sources:
    """One source for each app registration, and one for all persons; thread-safe.

    Args:
        logins: who has signed in by a device code.
    """

    def __init__(self, logins: Logins) -> None:
        self._signed_in = SignedIn(logins)
        self._applications: dict[tuple[str, str], Source] = {}
        self._lock = threading.Lock()

    def fetch(self, asking: Asking, other_than: str) -> Fetched:
        """Get a token; see ``grants.Source``."""
        return self._source(asking).fetch(asking, other_than)

    def held(self, error: Exception, asking: Asking) -> Held:
        """Say what is held because of what ``fetch`` raised."""
        return failures.held(error, asking)

    def _source(self, asking: Asking) -> Source:
        if asking.by_person:
            return self._signed_in
        registration = asking.registration
        # The key changes with the secret and the certificate: then the application is made anew.
        name = (registration.key, str(registration.ca_file or ""))
        with self._lock:
            source = self._applications.pop(name, None) or self._make(asking)
            self._applications[name] = source
            if len(self._applications) > _MOST_APPLICATIONS:
                del self._applications[next(iter(self._applications))]  # used the longest ago
        return source

    def _make(self, asking: Asking) -> Source:
        if asking.registration.grant == "managed-identity":
            return ManagedIdentity(asking.registration)
        return Application(asking.registration)
