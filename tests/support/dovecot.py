"""Dovecot as Postfix's judge of logins: passwords from a file, access tokens by their signature.

It serves nothing else. Tokens are checked here, without asking anybody (Dovecot's
``introspection_mode = local``): the signature, ``exp``, ``iss``, and that ``upn`` is the user.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PROGRAM = "/usr/sbin/dovecot"
KEY = "default/RS256/default"
"""Where a key without a name stands: <azp>/<algorithm>/<kid>."""

# An empty line such as ``active_attribute =`` would make the whole auth process die.
_TOKENS = """\
introspection_mode = local
local_validation_key_dict = fs:posix:prefix={folder}/keys/
username_attribute = upn
issuers = {issuers}
"""
_TOKENS_PASSDB = """\
passdb {{
  driver = oauth2
  mechanisms = xoauth2
  args = {folder}/tokens.conf
}}
"""
# Without the listener at the end, failed logins would be slowed down, up to 15 s each.
_CONFIG = """\
base_dir = {folder}/dovecot
state_dir = {folder}/dovecot
log_path = {folder}/dovecot.log
protocols =
ssl = no
auth_mechanisms = {mechanisms}
auth_failure_delay = 0
disable_plaintext_auth = no
{tokens_passdb}passdb {{
  driver = passwd-file
  mechanisms = plain login
  args = scheme=plain username_format=%u {folder}/users
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home=/nonexistent
}}
service auth {{
  unix_listener {folder}/queue/private/auth {{
    mode = 0660
    user = {owner}
  }}
}}
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class TokenKeys:
    """Whose tokens are taken.

    Attributes:
        keys: public keys in PEM, by ``<azp>/RS256/<kid>``; ``KEY`` for tokens that name neither.
        issuers: what may stand in ``iss``.
    """

    keys: Mapping[str, bytes]
    issuers: tuple[str, ...]


def write_config(
    folder: Path, owner: str, users: Mapping[str, str], tokens: TokenKeys | None
) -> Path:
    """Write the configuration and all it needs; its path.

    Args:
        folder: of the whole mail server; the socket is in its ``queue/private``.
        owner: who may ask, the user that Postfix runs as.
        users: name and password of who may log in; an empty password lets any pass.
        tokens: whose access tokens are taken; None: of nobody.
    """
    (folder / "dovecot").mkdir(mode=0o755)
    rows = (
        f"{user}:{password}::::::{'' if password else 'nopassword=y'}\n"
        for user, password in users.items()
    )
    (folder / "users").write_text("".join(rows))
    if tokens is not None:
        for name, pem in tokens.keys.items():
            path = folder / "keys" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(pem)
        issuers = " ".join(tokens.issuers)
        (folder / "tokens.conf").write_text(_TOKENS.format(folder=folder, issuers=issuers))
    config = folder / "dovecot.conf"
    config.write_text(
        _CONFIG.format(
            folder=folder,
            owner=owner,
            mechanisms="plain login" if tokens is None else "plain login xoauth2",
            tokens_passdb="" if tokens is None else _TOKENS_PASSDB.format(folder=folder),
        )
    )
    return config
