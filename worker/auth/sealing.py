"""Encrypts what the ledger keeps of logins: a refresh token is as good as a password for months.

The key lies beside the ledger, not in it (``POSTMETER_LOGIN_KEY_FILE``, else ``login.key`` in the
state folder), so that a copy of the database alone signs nobody in. Encrypted is with Fernet
(github.com/fernet/spec: AES-128-CBC and HMAC-SHA256), together with the account's name: a row moved
to another account is not taken for its own.
"""

from __future__ import annotations

import json
import os
import stat
import tempfile
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken


class Unreadable(Exception):
    """A login cannot be encrypted or decrypted here; the text is a sentence, without the cure."""


class Sealer:
    """Seals and opens with the key of one file.

    Args:
        path: of the key; made at the first ``seal`` where there is none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def seal(self, account: str, cache: str) -> bytes:
        """Encrypt an account's cache.

        Raises:
            Unreadable: the key cannot be made or read.
        """
        if not self._path.exists():
            self._make_key()
        return self._fernet().encrypt(json.dumps([account, cache]).encode())

    def open(self, account: str, sealed: bytes) -> str:
        """Decrypt an account's cache.

        Raises:
            Unreadable: the key is missing, or is another one.
        """
        try:
            owner, cache = json.loads(self._fernet().decrypt(sealed))
        except InvalidToken:
            raise Unreadable(
                f"the login of {account} was stored with another key than {self._path}: let"
                " POSTMETER_LOGIN_KEY_FILE name the same key on every host"
            ) from None
        if owner != account:
            raise Unreadable(f"the login stored for {account} is that of another account")
        return str(cache)

    def _fernet(self) -> Fernet:
        try:
            with self._path.open("rb") as file:
                if os.fstat(file.fileno()).st_mode & stat.S_IROTH:
                    raise Unreadable(f"everybody can read {self._path}: chmod 600")
                return Fernet(file.read().strip())
        except OSError as error:
            raise Unreadable(
                f"the key of logins {self._path} cannot be read ({error.strerror}): let"
                " POSTMETER_LOGIN_KEY_FILE name the file that the logins were stored with"
            ) from None
        except ValueError:
            raise Unreadable(f"{self._path} holds no key of logins") from None

    def _make_key(self) -> None:
        """Write a new key whole or not at all; whoever was faster has made it."""
        try:
            handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=".login-key-")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(Fernet.generate_key() + b"\n")
                    file.flush()
                    os.fsync(file.fileno())
                owner = self._path.parent.stat()
                if os.geteuid() == 0:  # typed by root, read by the worker
                    os.chown(name, owner.st_uid, owner.st_gid)
                os.link(name, self._path)
            except FileExistsError:
                return
            finally:
                Path(name).unlink()
        except OSError as error:
            raise Unreadable(
                f"the key of logins {self._path} cannot be made ({error.strerror})"
            ) from None
