"""Ids of jobs."""

from __future__ import annotations

import uuid

from producers.identity import batch_job_id, uuid7


def test_uuid7_is_one_and_sorts_by_time() -> None:
    """Version, variant and the millisecond in front, as RFC 9562 5.7 says."""
    first, second = uuid7(1_795_000_000.0), uuid7(1_795_000_000.001)
    parsed = uuid.UUID(first)
    assert parsed.version == 7
    assert parsed.variant == uuid.RFC_4122
    assert parsed.int >> 80 == 1_795_000_000_000
    assert first < second
    assert len({uuid7(1.0) for _ in range(1000)}) == 1000


def test_batch_ids_are_always_the_same() -> None:
    """The id of an email of a batch never changes, or a resumed batch would be sent twice."""
    assert batch_job_id("acme", "november", 0) == "b20c08da-c7fd-8d9a-803f-4616f5db2fa8"
    parsed = uuid.UUID(batch_job_id("acme", "november", 0))
    assert (parsed.version, parsed.variant) == (8, uuid.RFC_4122)


def test_batch_ids_differ_by_company_batch_and_place() -> None:
    """Two companies may give their batches the same name."""
    ids = {
        batch_job_id(company, batch, index)
        for company in (None, "acme", "bolt")
        for batch in ("a", "b")
        for index in range(10)
    }
    assert len(ids) == 60
