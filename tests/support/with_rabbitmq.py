"""Run a command with the address of a private RabbitMQ as its last argument.

``python -m tests.support.with_rabbitmq postmeter demo --broker-url``: the server is started on a
free port, and ended with everything of its own when the command ends, however it ends.
"""

from __future__ import annotations

import signal
import subprocess
import sys

from tests.support.rabbitmq import MISSING, RabbitServer


def main(command: list[str]) -> int:
    """Run the command; its exit code, or 1 where there is no RabbitMQ to start."""
    if not command:
        print("usage: python -m tests.support.with_rabbitmq COMMAND …", file=sys.stderr)
        return 2
    if not RabbitServer.available():
        print(MISSING, file=sys.stderr)
        return 1
    print("starting a private RabbitMQ", file=sys.stderr)
    with RabbitServer() as server:
        child = subprocess.Popen([*command, server.url])
        signal.signal(signal.SIGTERM, lambda *_: child.terminate())
        while True:
            try:
                return child.wait()
            except KeyboardInterrupt:
                continue  # the terminal sent it to the command too; it ends in its own time


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
