"""Every way to connect that the settings offer, as rows: what is set, whom it meets, how it ends.

A row is there for every combination that means something different: authorisation, transport
security, tls_mode, port and certificate. ``smtp_matrix_runner`` runs them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pydantic import SecretStr

from tests.support.secrets_watch import secret
from worker.outcome import TargetKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

USERS: Final = {"jane": secret("pass word"), "kiosk": ""}
JANE: Final[Mapping[str, Any]] = {"username": "jane", "password": SecretStr(USERS["jane"])}
REQUIRED: Final[Mapping[str, Any]] = {"authorisation": "required"}
PLAIN: Final = ("PLAIN", "jane")

SECURITIES: Final = {
    "ssl": "TLSv1.3",
    "tls": "TLSv1.3",
    "tls1.0": "TLSv1",
    "tls1.1": "TLSv1.1",
    "tls1.2": "TLSv1.2",
    "tls1.3": "TLSv1.3",
}
"""The version that a server with all of them must log."""
_ONLY: Final = {"tls10": "TLSv1", "tls11": "TLSv1.1", "tls12": "TLSv1.2", "tls13": "TLSv1.3"}
_MODERN: Final = frozenset({"TLSv1.2", "TLSv1.3"})
_WAYS: Final = ("starttls", "implicit")


@dataclass(frozen=True, slots=True)
class Delivered:
    """The mail is queued; the log has this TLS version (None: clear), and this login or none."""

    tls: str | None
    login: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Fails:
    """Nothing is sent; the reason has these words and the hold this target.

    Attributes:
        tried: how many logins the server must have seen.
        mail_sent: whether it must have seen MAIL.
    """

    target: TargetKind
    words: tuple[str, ...]
    tried: int = 0
    mail_sent: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One way to connect.

    Attributes:
        changes: of the settings; ``ca`` (``own``, ``private``, ``system``) stands for ca_file.
    """

    name: str
    listener: str
    end: Delivered | Fails
    ca: str = "own"
    changes: dict[str, Any] = field(default_factory=dict)


def _server(*words: str) -> Fails:
    return Fails(TargetKind.SERVER, words)


def _account(*words: str) -> Fails:
    return Fails(TargetKind.ACCOUNT, words)


_REFUSED = Fails(TargetKind.CREDENTIAL, ("refused the login: check username and password",), 1)


def _row(name: str, listener: str, end: Delivered | Fails, ca: str = "own", **changes: Any) -> Row:
    return Row(f"{name}-{listener}", listener, end, ca, changes)


def _versions() -> Iterator[Row]:
    """A server that has every version: what is pinned is what it logs, on every kind of port."""
    met = (
        ("relay", "auto"),
        ("submission", "auto"),
        ("submission", "starttls"),
        ("starttls", "auto"),
        ("submissions", "auto"),
        ("submissions", "implicit"),
        ("submissions2", "auto"),
        ("implicit", "implicit"),
    )
    for security, version in SECURITIES.items():
        for listener, mode in met:
            login = {} if listener == "relay" else {**REQUIRED, **JANE}
            end = Delivered(version, PLAIN if login else None)
            setting = {"transport_security": security, "tls_mode": mode} | login
            yield _row(f"{security}-{mode}", listener, end, **setting)


def _pins() -> Iterator[Row]:
    """A server that has one version: a pin is never loosened, either way to start TLS."""
    for only, version in _ONLY.items():
        for security, best in SECURITIES.items():
            pinned = security not in {"ssl", "tls"}
            fits = best == version if pinned else version in _MODERN
            advice = (
                f'transport_security is "{security}"',
                'set "tls"' if pinned else 'set "tls1.0" or "tls1.1"',
            )
            for way in _WAYS:
                yield _row(
                    security,
                    f"{only}-{way}",
                    Delivered(version) if fits else _server("TLS failed", *advice),
                    transport_security=security,
                    tls_mode=way,
                )


def _certificates() -> Iterator[Row]:
    """Who is trusted: each fault has its own remedy, and only verify = false takes any."""
    faults = {
        "private": ("ca_file", "its authority"),
        "stranger": ("server_address", "a name that is in it"),
        "expired": ("expired", "renewed at the server"),
    }
    for way in _WAYS:
        setting: dict[str, Any] = {"transport_security": "tls", "tls_mode": way}
        good = "starttls" if way == "starttls" else "implicit"
        untrusted = _server("certificate is not trusted", "set ca_file")
        yield _row("system", f"private-{way}", untrusted, "system", **setting)
        yield _row("other-ca", good, untrusted, "private", **setting)
        yield _row("system", good, Delivered("TLSv1.3"), "system", **setting)
        yield _row("own-ca", f"private-{way}", Delivered("TLSv1.3"), "private", **setting)
        for certificate, words in faults.items():
            listener = f"{certificate}-{way}"
            for security in ("tls", "tls1.0"):
                pin = setting | {"transport_security": security}
                yield _row(f"{security}-wrong", listener, _server("not trusted", *words), **pin)
            anyone = setting | {"verify_certificate": False}
            yield _row("unverified", listener, Delivered("TLSv1.3"), **anyone)


def _ports() -> Iterator[Row]:
    """A port that is for something else: the sentence says so, and what to set."""
    silent = _server("waiting for its greeting", 'tls_mode = "implicit"')
    quick: dict[str, Any] = {"connection_timeout_ms": 1500}
    for listener, mode in (("submissions", "starttls"), ("implicit", "auto")):
        setting = quick | {"transport_security": "tls", "tls_mode": mode}
        yield _row(f"silent-{mode}", listener, silent, **setting)
    in_clear = _server("waiting for its greeting", 'transport_security = "tls"')
    yield _row("silent-none", "submissions", in_clear, **quick)
    speaks = _server("does not start with TLS on this port", 'tls_mode = "starttls"', "465")
    for listener in ("relay", "submission", "starttls", "clear"):
        setting = {"transport_security": "tls", "tls_mode": "implicit"}
        yield _row("implicit", listener, speaks, **setting)
    for mode in ("auto", "starttls"):
        missing = _server("offers no STARTTLS", 'tls_mode = "implicit"')
        yield _row(f"tls-{mode}", "bare", missing, transport_security="tls", tls_mode=mode)
    yield _row("implicit-without-tls", "relay", Delivered(None), tls_mode="implicit")


def _logins() -> Iterator[Row]:
    """Who logs in, with which mechanism, and that a password needs TLS."""
    tls: dict[str, Any] = {"transport_security": "tls"}
    clear: dict[str, Any] = {"allow_cleartext_password": True}
    required, optional = REQUIRED, {**REQUIRED, "authorisation": "optional"}
    kiosk: dict[str, Any] = {"username": "kiosk"}
    wrong: dict[str, Any] = {"username": "jane", "password": SecretStr("wrong")}
    never = _account("no password is sent without TLS", "allow_cleartext_password = true")
    yield _row("none", "clear", Delivered(None), **JANE)
    yield _row("none", "bare", Delivered(None), **JANE)
    yield _row("none", "starttls", Delivered("TLSv1.3"), **tls, **JANE)
    yield _row("required", "clear", Delivered(None, PLAIN), **required, **clear, **JANE)
    yield _row("required-in-clear", "clear", never, **required, **JANE)
    yield _row("optional-in-clear", "clear", never, **optional, **kiosk)
    yield _row("optional", "clear", Delivered(None, PLAIN), **optional, **clear, **JANE)
    for listener, version in (("clear", None), ("starttls", "TLSv1.3")):
        security = clear if version is None else tls
        empty = Delivered(version, ("PLAIN", "kiosk"))
        yield _row("empty", listener, empty, **optional, **security, **kiosk)
        yield _row("empty-wrong", listener, _REFUSED, **optional, **security, username="jane")
        yield _row("wrong", listener, _REFUSED, **required, **security, **wrong)
        missing = _account("needs a username")
        yield _row("nameless", listener, missing, **optional, **security)
        yield _row("nameless-too", listener, missing, **required, **security)
        lacking = _account("needs a password")
        yield _row("wordless", listener, lacking, **required, **security, username="jane")
    unwanted = _account("offers no login", 'authorisation = "none"')
    yield _row("required", "relay", unwanted, **required, **tls, **JANE)
    later = _account("offers no login without TLS")
    for listener in ("bare", "late-login"):
        yield _row("required", listener, later, **required, **clear, **JANE)
    late = Delivered("TLSv1.3", PLAIN)
    yield _row("required-tls", "late-login", late, **required, **tls, **JANE)
    login_only = Delivered("TLSv1.3", ("LOGIN", "jane"))
    yield _row("required", "login-only", login_only, **required, **tls, **JANE)
    yield _row("wrong", "login-only", _REFUSED, **required, **tls, **wrong)
    strange = _account("offers only xoauth2", "PLAIN, LOGIN and CRAM-MD5")
    yield _row("required", "tokens-only", strange, **required, **tls, **JANE)
    words = ("the server wants TLS first: set transport_security",)
    yield _row("none", "submission", Fails(TargetKind.SERVER, words, mail_sent=True))


ROWS: Final = (*_versions(), *_pins(), *_certificates(), *_ports(), *_logins())
