"""How much lies in the queues, not yet taken in by any worker."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Final

from worker.errors import BrokerUnavailable

if TYPE_CHECKING:
    from worker.cli.installation import Installation

_TIMEOUT_SECONDS: Final = 3.0


def depths(here: Installation) -> dict[str, int]:
    """Count what is ready in each queue; a queue that is not there yet is empty.

    Raises:
        BrokerUnavailable: that can't be told now.
        ProcessInvalid: a variable is wrong or unknown.
    """
    topology = here.topology
    queues = (*topology.queues, topology.dead)
    url = here.broker_url
    if url.startswith("embedded:"):
        return _of_inbox(Path(url.removeprefix("embedded:")), queues)
    return _of_rabbitmq(url, queues)


def _of_inbox(path: Path, queues: tuple[str, ...]) -> dict[str, int]:
    from producers.inbox import Inbox

    if not path.exists():
        return dict.fromkeys(queues, 0)
    inbox = Inbox(path)
    try:
        return {queue: inbox.depth(queue) for queue in queues}
    except (sqlite3.Error, OSError) as error:
        raise BrokerUnavailable(f"the inbox {path} cannot be read: {error}") from error
    finally:
        inbox.close()


def _of_rabbitmq(url: str, queues: tuple[str, ...]) -> dict[str, int]:
    import pika
    import pika.exceptions

    parameters = pika.URLParameters(url)
    parameters.connection_attempts = 1
    parameters.socket_timeout = parameters.stack_timeout = _TIMEOUT_SECONDS
    parameters.blocked_connection_timeout = _TIMEOUT_SECONDS
    try:
        connection = pika.BlockingConnection(parameters)
    except (pika.exceptions.AMQPError, OSError) as error:
        # pika's own words may hold the address; the kind of failure is enough.
        raise BrokerUnavailable(
            f"RabbitMQ at {parameters.host}:{parameters.port} cannot be reached"
            f" ({type(error).__name__})"
        ) from error
    try:
        return {queue: _depth(connection, queue) for queue in queues}
    finally:
        connection.close()


def _depth(connection: object, queue: str) -> int:
    import pika.exceptions

    channel = connection.channel()  # type: ignore[attr-defined]  # pika ships no types
    try:
        return int(channel.queue_declare(queue, passive=True).method.message_count)
    except pika.exceptions.ChannelClosedByBroker:
        return 0
