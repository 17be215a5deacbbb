"""Certificates for servers on 127.0.0.1 and localhost, from an authority made for the test run."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import trustme

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Certificates:
    """An authority's file, a server's certificate and key, and a context that serves them."""

    ca_file: Path
    chain_file: Path
    key_file: Path
    server_context: ssl.SSLContext


@cache
def certificates(folder: Path, *names: str) -> Certificates:
    """Make them in ``folder``, for 127.0.0.1 and localhost unless names are given."""
    authority = trustme.CA()
    leaf = authority.issue_cert(*(names or ("127.0.0.1", "localhost")))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(context)
    folder.mkdir(parents=True, exist_ok=True)
    made = Certificates(folder / "ca.pem", folder / "server.pem", folder / "server.key", context)
    authority.cert_pem.write_to_path(made.ca_file)
    leaf.private_key_pem.write_to_path(made.key_file)
    made.chain_file.write_bytes(b"".join(item.bytes() for item in leaf.cert_chain_pems))
    return made
