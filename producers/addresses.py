"""Recipients as people write them: ``addr``, ``Name <addr>``, ``a@x; b@y``.

RFC 5321 (lengths: 4.5.3.1), RFC 5322 3.4 (dot-atoms), RFC 6531 (UTF-8 local parts, IDN domains).
Quoted local parts are refused: no mailbox of today needs one, and every parser reads them otherwise.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from functools import lru_cache

MAX_LOCAL_OCTETS = 64
MAX_ADDRESS_OCTETS = 254
MAX_NAME_CHARACTERS = 200
_MAX_TEXT = 1000
_MAX_LABEL_OCTETS = 63
_MAX_DOMAIN_OCTETS = 253
_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u0080-\U0010ffff-]+"
_LOCAL = re.compile(rf"{_ATEXT}(?:\.{_ATEXT})*")
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?")
_ANGLE = re.compile(r"(?P<name>.*)<(?P<address>[^<>]*)>", re.DOTALL)
_QUOTED = re.compile(r'"(?:\\.|[^"\\])*"', re.DOTALL)
_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})

COMMA = "a comma separates nothing here: use ';' or a list, and quote a name that has a comma"


def has_control(text: str) -> bool:
    """Whether a text holds a control character, a line separator or half a surrogate pair."""
    if text.isascii() and text.isprintable():
        return False
    return any(unicodedata.category(character) in _FORBIDDEN_CATEGORIES for character in text)


def split_recipients(text: str) -> tuple[str, ...]:
    """The recipients of a string that separates them by ``;`` (a quoted name may hold one)."""
    if ";" not in text:
        return (text.strip(),) if text.strip() else ()
    pieces: list[str] = []
    start, quoted, escaped = 0, False, False
    for position, character in enumerate(text):
        if escaped:
            escaped = False
        elif character == "\\" and quoted:
            escaped = True
        elif character == '"':
            quoted = not quoted
        elif character == ";" and not quoted:
            pieces.append(text[start:position])
            start = position + 1
    pieces.append(text[start:])
    return tuple(piece for piece in (p.strip() for p in pieces) if piece)


@lru_cache(maxsize=4096)
def parse_address(text: str) -> tuple[str, str]:
    """Split ``Name <addr>`` or ``addr`` into its display name (perhaps empty) and its address.

    Raises:
        ValueError: not an address; one sentence says why, without the value.
    """
    if len(text) > _MAX_TEXT:
        raise ValueError(f"an address with its name has at most {_MAX_TEXT} characters")
    if has_control(text):
        raise ValueError("a control character or line break is not allowed in an address")
    if "," in _QUOTED.sub("", text):
        raise ValueError(COMMA)
    match = _ANGLE.fullmatch(text.strip())
    name, address = (match["name"].strip(), match["address"]) if match else ("", text.strip())
    if _QUOTED.fullmatch(name):
        name = re.sub(r"\\(.)", r"\1", name[1:-1])
    elif '"' in name or "<" in name or ">" in name:
        raise ValueError('not an email address: write "Name" <user@example.org>')
    if len(name) > MAX_NAME_CHARACTERS:
        raise ValueError(f"a display name has at most {MAX_NAME_CHARACTERS} characters")
    _check_address(address)
    return name, address


def _check_address(address: str) -> None:
    local, at, domain = address.rpartition("@")
    if not at:
        raise ValueError("not an email address: it has no @")
    spaced = not local.isascii() and any(character.isspace() for character in local)
    if spaced or not _LOCAL.fullmatch(local):
        raise ValueError("not an email address: the part before the @ is not allowed")
    if len(local.encode()) > MAX_LOCAL_OCTETS:
        raise ValueError(f"the part before the @ has more than {MAX_LOCAL_OCTETS} octets")
    if len(address.encode()) > MAX_ADDRESS_OCTETS:
        raise ValueError(f"an address has at most {MAX_ADDRESS_OCTETS} octets")
    if not _is_domain(domain):
        raise ValueError("not an email address: the domain after the @ is not a domain name")


@lru_cache(maxsize=4096)
def _is_domain(domain: str) -> bool:
    if domain.startswith("[") and domain.endswith("]"):
        return _is_literal(domain[1:-1])
    labels = [_ascii_label(label) for label in domain.split(".")]
    return all(labels) and len(".".join(labels)) <= _MAX_DOMAIN_OCTETS


def _ascii_label(label: str) -> str:
    """One label of a domain in ASCII, or an empty string where it is none."""
    ascii_label = label
    if not label.isascii():
        if not all(unicodedata.category(c)[0] in "LMN" or c == "-" for c in label):
            return ""
        ascii_label = "xn--" + label.encode("punycode").decode("ascii")
    fits = len(ascii_label) <= _MAX_LABEL_OCTETS and _LABEL.fullmatch(ascii_label)
    return ascii_label if fits else ""


def _is_literal(literal: str) -> bool:
    """An address literal, RFC 5321 4.1.3: ``192.0.2.1`` or ``IPv6:2001:db8::1``."""
    try:
        if literal[:5].lower() == "ipv6:":
            return "%" not in literal and bool(ipaddress.IPv6Address(literal[5:]))
        return bool(ipaddress.IPv4Address(literal))
    except ValueError:
        return False
