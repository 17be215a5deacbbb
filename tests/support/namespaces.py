"""Network namespaces: hosts of their own as far as the network goes, on one machine; needs root."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MISSING = "network namespaces need root and iproute2 (Debian: apt-get install iproute2)"


def available() -> bool:
    """Whether this process may make a namespace."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    name = f"pm-{secrets.token_hex(3)}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False)
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    return made.returncode == 0


@contextlib.contextmanager
def namespace(number: int) -> Iterator[tuple[list[str], str]]:
    """A namespace with a link of its own to this one.

    Yields how a command is run in it, and this side's address as it is seen from there.
    """
    name = f"pm-{secrets.token_hex(3)}"
    here, there = f"{name}h", f"{name}t"
    net = f"10.213.{number}"

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True)

    ip("netns", "add", name)
    try:
        ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", name)
        ip("addr", "add", f"{net}.1/24", "dev", here)
        ip("link", "set", here, "up")
        ip("-n", name, "addr", "add", f"{net}.2/24", "dev", there)
        ip("-n", name, "link", "set", there, "up")
        ip("-n", name, "link", "set", "lo", "up")
        yield ["ip", "netns", "exec", name], f"{net}.1"
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
        subprocess.run(["ip", "link", "del", here], check=False, capture_output=True)


@contextlib.contextmanager
def forwarded(address: str, port: int) -> Iterator[int]:
    """A port on ``address`` that leads to a server on this machine's loopback."""
    listener = socket.create_server((address, 0))
    ends: list[socket.socket] = [listener]

    def carry(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", port))
            ends.extend((client, server))
            for pair in ((client, server), (server, client)):
                threading.Thread(target=carry, args=pair, daemon=True).start()

    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        for end in ends:
            end.close()
        acceptor.join(5.0)


@contextlib.contextmanager
def led_to_loopback(address: str, ports: tuple[int, ...]) -> Iterator[None]:
    """Let the kernel lead these ports of ``address`` to the servers on this machine's loopback.

    Unlike ``forwarded`` it costs no process's time, so that a measurement may stand on it; needs nftables.
    """
    table = f"pm_{secrets.token_hex(3)}"
    listed = subprocess.run(
        ["ip", "-o", "-4", "address", "show", "to", address],
        check=True,
        capture_output=True,
        text=True,
    )
    link = listed.stdout.split()[1]
    rule = f"ip daddr {address} tcp dport {{ {', '.join(map(str, ports))} }} dnat to 127.0.0.1"
    # The servers shall also see them come from the loopback: they trust nobody else.
    there = f'iifname "{link}" snat to 127.0.0.1'
    program = "\n".join(
        (
            f"table ip {table} {{",
            f"chain pre {{\ntype nat hook prerouting priority -100\n{rule}\n}}",
            f"chain in {{\ntype nat hook input priority 100\n{there}\n}}",
            "}",
            "",
        )
    )
    subprocess.run(["nft", "-f", "-"], input=program, text=True, check=True, capture_output=True)
    try:
        # A packet from outside may otherwise have no address of the loopback.
        subprocess.run(
            ["sysctl", "-qw", f"net.ipv4.conf.{link}.route_localnet=1"],
            check=True,
            capture_output=True,
        )
        yield
    finally:
        subprocess.run(["nft", "delete", "table", "ip", table], check=False, capture_output=True)
