"""Logins: who has signed in for an account by a device code, kept encrypted for every worker.

What is encrypted here is MSAL's cache: a refresh token with which any worker gets access tokens for
months. A worker that has refreshed writes the cache back only over the version that it read, so that
two workers do not undo each other, nor a worker what a person has just done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import Connection, text

from worker.ledger.holds import clear_hold

if TYPE_CHECKING:
    from collections.abc import Iterable

    from worker.ledger.clock import Now


class Login(NamedTuple):
    """One account's login.

    Attributes:
        cache: encrypted (``worker/auth/sealing.py``).
        version: counts its changes, on from a number that no login before it had.
        updated_at: Unix seconds.
    """

    cache: bytes
    version: int
    updated_at: float


_FIND = text("SELECT cache, version, updated_at FROM login WHERE account = :account")
_PUT = text(
    "INSERT INTO login (account, cache, version, updated_at) VALUES (:account, :cache, :first, :now)"
    " ON CONFLICT (account) DO UPDATE SET cache = excluded.cache, version = login.version + 1,"
    " updated_at = excluded.updated_at"
)
_REPLACE = text(
    "UPDATE login SET cache = :cache, version = version + 1, updated_at = :now"
    " WHERE account = :account AND version = :version"
)
_FORGET = text("DELETE FROM login WHERE account = :account")


def find(connection: Connection, account: str) -> Login | None:
    """Read an account's login."""
    row = connection.execute(_FIND, {"account": account}).first()
    return None if row is None else Login(bytes(row.cache), row.version, row.updated_at)


def sign_in(
    connection: Connection, now: Now, account: str, cache: bytes, *, held: Iterable[str]
) -> None:
    """Keep what a person has signed in to, and end the holds that waited for it.

    Args:
        held: the targets whose holds end.
    """
    first = int(now.wall * 1000)  # a worker may still hold the version of a login forgotten since
    connection.execute(_PUT, {"account": account, "cache": cache, "first": first, "now": now.wall})
    for target in held:
        clear_hold(connection, target)


def replace(connection: Connection, now: Now, account: str, cache: bytes, *, version: int) -> bool:
    """Write back what was refreshed; not where somebody else has written since. Whether it was."""
    named = {"account": account, "cache": cache, "version": version, "now": now.wall}
    return connection.execute(_REPLACE, named).rowcount == 1


def forget(connection: Connection, account: str) -> bool:
    """Delete an account's login; whether there was one."""
    return connection.execute(_FORGET, {"account": account}).rowcount == 1
