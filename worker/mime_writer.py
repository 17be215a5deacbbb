"""Headers and simple bodies as bytes, without the standard library's email policy.

That policy needs about a millisecond a mail, as much as all the rest of a delivery. It also cannot
do what headers need at once: with 78 columns it breaks a long URL into encoded words, with 998 it
writes encoded words longer than RFC 2047 allows. Here lines are folded at spaces only; what is not
ASCII becomes encoded words of at most 75 characters; a long token stays whole up to the 998 octets
of RFC 5322 2.1.1.
"""

from __future__ import annotations

import binascii
import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import idna

from producers.addresses import parse_address

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAX_LINE_OCTETS = 998
_FOLD_COLUMNS = 78
_WORD_LENGTH = 75 - len("=?utf-8?q??=")
_BASE64_LINE = 76
_ASCII_BYTES = bytes(range(128))
_PHRASE = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
_PIECES = re.compile(r"\s*\S+|\s+\Z")
_Q_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/")


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A display name (perhaps empty) and an address whose domain is in A-labels."""

    name: str
    address: str

    @property
    def needs_smtputf8(self) -> bool:
        """Whether the part before the @ is not ASCII (RFC 6531)."""
        return not self.address.isascii()


@lru_cache(maxsize=8192)
def mailbox(text: str) -> Mailbox:
    """Read ``addr`` or ``Name <addr>``.

    Raises:
        ValueError: not an address; the message does not repeat it.
    """
    name, address = parse_address(text)
    local, _, domain = address.rpartition("@")
    if not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True).decode("ascii")
        except idna.IDNAError:
            raise ValueError(
                "the domain of an address is no valid internationalised name"
            ) from None
    return Mailbox(_CONTROL.sub(" ", name).strip(), f"{local}@{domain}")


# Headers


def text_header(name: str, value: str) -> str:
    """Return an unstructured header (RFC 5322 2.2.1) with its line end."""
    value = _CONTROL.sub(" ", value).strip()
    pieces: Sequence[str] = _PIECES.findall(value)
    if not _is_plain(value) or any(len(piece) > MAX_LINE_OCTETS - 80 for piece in pieces):
        return _fold(name, _encoded_words(value))
    return _fold(name, [piece.lstrip() if i == 0 else piece for i, piece in enumerate(pieces)])


def address_header(name: str, boxes: Iterable[Mailbox]) -> str:
    """Return a header of addresses (RFC 5322 3.6.3) with its line end."""
    pieces: list[str] = []
    for box in boxes:
        if pieces:
            pieces[-1] += ","
        pieces += _mailbox_pieces(box)
    return _fold(name, [piece if i == 0 else f" {piece}" for i, piece in enumerate(pieces)])


def _mailbox_pieces(box: Mailbox) -> list[str]:
    if not box.name:
        return [box.address]
    address = f"<{box.address}>"
    if not _is_plain(box.name):
        return [*(word.lstrip() for word in _encoded_words(box.name)), address]
    if _PHRASE.fullmatch(box.name):
        return [*box.name.split(" "), address]
    escaped = box.name.replace("\\", "\\\\").replace('"', '\\"')
    return [f'"{escaped}"', address]


def _is_plain(text: str) -> bool:
    # "=?" would be read as the start of an encoded word.
    return text.isascii() and "=?" not in text


def _fold(name: str, pieces: Sequence[str]) -> str:
    """Join pieces, each but the first with its leading space, breaking lines before them."""
    lines = [f"{name}: "]
    for index, piece in enumerate(pieces):
        if index and len(lines[-1]) + len(piece) > _FOLD_COLUMNS:
            lines.append(piece)
        else:
            lines[-1] += piece
    return "\r\n".join(lines) + "\r\n"


def _encoded_words(text: str) -> list[str]:
    """Return ``text`` as encoded words (RFC 2047), each but the first with a leading space.

    Space between them belongs to none; no character is split between two.
    """
    quoted = [_q_encoded(character) for character in text]
    as_b = sum(map(len, quoted)) > len(text.encode()) * 4 / 3
    words: list[str] = []
    start, length = 0, 0
    for index, character in enumerate(text):
        octets = len(character.encode())
        # Base64 grows by whole groups: four characters for each three octets begun.
        grown = length + (octets if as_b else len(quoted[index]))
        if (-(-grown // 3) * 4 if as_b else grown) > _WORD_LENGTH:
            words.append(_word(text[start:index], quoted[start:index], as_b=as_b))
            start, grown = index, grown - length
        length = grown
    words.append(_word(text[start:], quoted[start:], as_b=as_b))
    return [words[0], *(f" {word}" for word in words[1:])]


def _word(text: str, quoted: list[str], *, as_b: bool) -> str:
    if as_b:
        encoded = binascii.b2a_base64(text.encode(), newline=False).decode("ascii")
        return f"=?utf-8?b?{encoded}?="
    return f"=?utf-8?q?{''.join(quoted)}?="


@lru_cache(maxsize=1024)
def _q_encoded(character: str) -> str:
    if character == " ":
        return "_"
    return "".join(chr(o) if o in _Q_SAFE else f"={o:02X}" for o in character.encode())


# Bodies


def text_part(subtype: str, text: str) -> bytes:
    """Return a text part: its headers, an empty line, its body, all in ASCII.

    Plain ASCII goes as it is; else quoted-printable, or base64 where that is shorter. 8-bit is
    never chosen: not every server on the way must offer 8BITMIME then.
    """
    encoding, body = encode_text(text)
    return (
        f'Content-Type: text/{subtype}; charset="utf-8"\r\n'
        f"Content-Transfer-Encoding: {encoding}\r\n\r\n"
    ).encode() + body


def encode_text(text: str) -> tuple[str, bytes]:
    """Return the transfer encoding and the body, with CRLF line ends."""
    normal = text.replace("\r\n", "\n").replace("\r", "\n")
    if not normal.endswith("\n"):
        normal += "\n"
    data = normal.replace("\n", "\r\n").encode()
    if data.isascii() and max(map(len, data.split(b"\r\n"))) <= MAX_LINE_OCTETS:
        return "7bit", data
    eight_bit = len(data.translate(None, _ASCII_BYTES))
    if 2 * eight_bit > 0.37 * len(data):
        return "base64", encode_base64(data)
    return "quoted-printable", binascii.b2a_qp(data, istext=True)


def encode_base64(data: bytes) -> bytes:
    """Return base64 in lines of 76 characters (RFC 2045 6.8)."""
    whole = binascii.b2a_base64(data, newline=False)
    lines = [whole[i : i + _BASE64_LINE] for i in range(0, len(whole), _BASE64_LINE)]
    return b"\r\n".join([*lines, b""])


def alternative(seed: str, parts: Sequence[bytes]) -> bytes:
    """Return a multipart/alternative of whole parts: headers, empty line, body."""
    mark = boundary(seed, parts)
    # The line end before a boundary belongs to the boundary (RFC 2046 5.1.1).
    opened = b"".join(b"--%s\r\n%s\r\n" % (mark, part) for part in parts)
    header = b'Content-Type: multipart/alternative; boundary="%s"\r\n\r\n' % mark
    return header + opened + b"--%s--\r\n" % mark


def boundary(seed: str, parts: Sequence[bytes]) -> bytes:
    """Return a boundary that no part contains, the same in every attempt."""
    number = 0
    while True:
        digest = hashlib.sha256(f"{seed}/{number}".encode()).hexdigest()
        # "=_" occurs in no quoted-printable or base64 text (RFC 2045 6.7).
        mark = f"=_{digest[:32]}".encode()
        if not any(mark in part for part in parts):
            return mark
        number += 1
