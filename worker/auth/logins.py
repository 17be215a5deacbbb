"""Tokens of persons: who has signed in by a device code is kept, and refreshed by any worker.

Everything here blocks and runs in a thread.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msal

from worker.auth.failures import Refusal, SignedOut
from worker.auth.grants import authority_of, fetched
from worker.auth.sealing import Unreadable
from worker.auth.session import Session
from worker.errors import LedgerError
from worker.ledger import logins

if TYPE_CHECKING:
    from collections.abc import Iterable

    from config.registration import Registration
    from worker.auth.asking import Asking
    from worker.auth.grants import Fetched
    from worker.auth.sealing import Sealer
    from worker.ledger.ledger import Ledger


@dataclass(frozen=True, slots=True, repr=False)
class Kept:
    """MSAL's cache of one account, and which version of it."""

    cache: str
    version: int


class Logins:
    """The logins in the ledger, sealed there and open here."""

    def __init__(self, ledger: Ledger, sealer: Sealer) -> None:
        self._ledger = ledger
        self._sealer = sealer

    def find(self, account: str) -> Kept | None:
        """Read an account's login.

        Raises:
            Unreadable: it was sealed with another key.
            LedgerUnavailable: the ledger is away.
        """
        found = self._ledger.read(lambda c, _: logins.find(c, account))
        return found and Kept(self._sealer.open(account, found.cache), found.version)

    def sign_in(self, account: str, cache: str, *, held: Iterable[str]) -> None:
        """Keep a new login, and end the holds that waited for it.

        Raises:
            Unreadable: it cannot be sealed.
            LedgerUnavailable: the ledger is away.
        """
        sealed, targets = self._sealer.seal(account, cache), list(held)
        self._ledger.call(lambda c, now: logins.sign_in(c, now, account, sealed, held=targets))

    def replace(self, account: str, cache: str, version: int) -> bool:
        """Write back what was refreshed, unless somebody else has written since; whether it was."""
        sealed = self._sealer.seal(account, cache)
        return self._ledger.call(
            lambda c, now: logins.replace(c, now, account, sealed, version=version)
        )

    def forget(self, account: str) -> bool:
        """Delete a login; whether there was one."""
        return self._ledger.call(lambda c, _: logins.forget(c, account))


class SignedIn:
    """The source of tokens for accounts that persons have signed in for."""

    def __init__(self, kept: Logins) -> None:
        self._logins = kept

    def fetch(self, asking: Asking, other_than: str) -> Fetched:
        """Take what another worker has just refreshed, or refresh; see ``grants.Source``."""
        kept = self._find(asking.account)
        try:
            return self._refresh(asking, kept, other_than)
        except Refusal:
            later = self._find(asking.account)
            if later.version == kept.version:
                raise
            return self._refresh(asking, later, other_than)  # a person was quicker

    def _find(self, account: str) -> Kept:
        kept = self._logins.find(account)
        if kept is None:
            raise SignedOut(f"nobody has signed in for {account}")
        return kept

    def _refresh(self, asking: Asking, kept: Kept, other_than: str) -> Fetched:
        cache = msal.SerializableTokenCache()
        cache.deserialize(kept.cache)
        with Session(asking.registration.ca_file) as session:
            app = public_application(asking.registration, session, cache)
            persons = app.get_accounts()
            if not persons:
                raise SignedOut(f"who signed in for {asking.account} did so at another authority")
            result = app.acquire_token_silent_with_error(asking.scopes, persons[0])
            if result is not None and result.get("access_token") == other_than:
                result = app.acquire_token_silent_with_error(
                    asking.scopes, persons[0], force_refresh=True
                )
        if result is None:
            raise SignedOut(f"who signed in for {asking.account} did so for another application")
        found = fetched(result)
        if cache.has_state_changed:
            with suppress(LedgerError, Unreadable):  # the token is good all the same
                self._logins.replace(asking.account, cache.serialize(), kept.version)
        return found


def public_application(
    registration: Registration, session: Session, cache: msal.SerializableTokenCache
) -> Any:
    """MSAL's object for a person's tokens; asks the authority for its addresses."""
    return msal.PublicClientApplication(
        registration.client_id,
        authority=authority_of(registration),
        instance_discovery=False,
        http_client=session,
        http_cache={},
        token_cache=cache,
    )
