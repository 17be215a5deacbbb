"""Ids of jobs: UUIDv7 for a new one, UUIDv8 for a job of a batch (RFC 9562)."""

from __future__ import annotations

import hashlib
import os
import time
import uuid

_VERSION_MASK = ~(0xF << 76)
_VARIANT_MASK = ~(0x3 << 62)
_VARIANT = 0x2 << 62


def uuid7(now_seconds: float | None = None) -> str:
    """A new id: 48 bits of milliseconds since 1970, then 74 random bits (RFC 9562 5.7)."""
    milliseconds = int((time.time() if now_seconds is None else now_seconds) * 1000)
    value = (milliseconds & (1 << 48) - 1) << 80 | int.from_bytes(os.urandom(10), "big")
    return _with_version(value, 7)


def batch_job_id(company: str | None, batch_id: str, index: int) -> str:
    """The id of one email of a batch: always the same for the same batch and place.

    The company is part of it: two companies may both call a batch ``november``. UUIDv8 (RFC 9562
    5.8) over SHA-256.
    """
    digest = hashlib.sha256(f"{company or ''}\0{batch_id}\0{index}".encode()).digest()
    return _with_version(int.from_bytes(digest[:16], "big"), 8)


def _with_version(value: int, version: int) -> str:
    value = value & _VERSION_MASK & _VARIANT_MASK | version << 76 | _VARIANT
    return str(uuid.UUID(int=value))
