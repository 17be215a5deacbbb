"""The producer's own frames are pika's, byte for byte, and pika still has the place to put them."""

from __future__ import annotations

import inspect

import pika
import pika.frame
import pika.spec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pika.connection import Connection

from producers.amqp_frames import joined, publish_frames

JOB_ID = "019f0000-0000-7000-8000-000000000001"


def by_pika(channel: int, queue: str, body: bytes, frame_max: int) -> bytes:
    """What pika would write for the same message."""
    properties = pika.BasicProperties(
        content_type="application/json", delivery_mode=2, message_id=JOB_ID
    )
    method = pika.spec.Basic.Publish(exchange="", routing_key=queue, mandatory=True)
    frames = [pika.frame.Method(channel, method), pika.frame.Header(channel, len(body), properties)]
    room = frame_max - pika.spec.FRAME_HEADER_SIZE - pika.spec.FRAME_END_SIZE
    frames += [
        pika.frame.Body(channel, body[start : start + room]) for start in range(0, len(body), room)
    ]
    return b"".join(frame.marshal() for frame in frames)


@settings(deadline=None)  # a loaded machine is no fault
@given(
    st.integers(1, 65535),
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=60).filter(
        lambda queue: len(queue.encode()) < 256
    ),
    st.binary(min_size=1, max_size=3000),
    st.sampled_from([1024, 4096, 131072]),
)
def test_the_same_bytes_as_pika(channel: int, queue: str, body: bytes, frame_max: int) -> None:
    """For any channel, queue and body, also where the body needs several frames."""
    ours = b"".join(publish_frames(channel, queue, JOB_ID, body, frame_max))
    assert ours == by_pika(channel, queue, body, frame_max)


def test_ids_of_another_length_are_refused() -> None:
    """The template has room for 36 characters."""
    with pytest.raises(ValueError, match="36 characters"):
        list(publish_frames(1, "q", "short", b"x", 4096))


@settings(deadline=None)  # a loaded machine is no fault
@given(st.lists(st.binary(min_size=1, max_size=100_000), max_size=12))
def test_joining_changes_no_byte(frames: list[bytes]) -> None:
    """Frames are put together in order, into pieces that are not huge."""
    pieces = list(joined(frames))
    assert b"".join(pieces) == b"".join(frames)
    assert all(len(piece) < (1 << 18) + 100_000 for piece in pieces)


def test_pika_takes_frames_made_elsewhere() -> None:
    """The one method of pika's that is not public still has its shape (pika is pinned)."""
    parameters = inspect.signature(Connection._output_marshaled_frames).parameters
    assert list(parameters) == ["self", "marshaled_frames"]
