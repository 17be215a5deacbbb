"""Short names for secrets: they change when the secret does, and cannot be turned back."""

from __future__ import annotations

import hashlib
from functools import lru_cache


@lru_cache(maxsize=8192)
def fingerprint(owner: str, name: str, secret: str) -> str:
    """Eight hex digits that no fast dictionary search turns back: they stand in the ledger.

    The salt makes equal secrets of two owners look different; the work (about 3 ms, once for each
    secret) is scrypt's, RFC 7914.
    """
    salt = f"postmeter\0{owner}\0{name}".encode()
    return hashlib.scrypt(secret.encode(), salt=salt, n=2**10, r=8, p=1, dklen=4).hex()
