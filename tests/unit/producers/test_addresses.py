"""Recipients as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.addresses import COMMA, parse_address, split_recipients


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("jane@example.org", ("", "jane@example.org")),
        ("  jane@example.org ", ("", "jane@example.org")),
        ("<jane@example.org>", ("", "jane@example.org")),
        ("Jane Doe <jane@example.org>", ("Jane Doe", "jane@example.org")),
        ('"Doe, Jane" <jane@example.org>', ("Doe, Jane", "jane@example.org")),
        ('"say \\"hi\\"" <jane@example.org>', ('say "hi"', "jane@example.org")),
        ("Māori Ōtautahi <kōrero@example.org>", ("Māori Ōtautahi", "kōrero@example.org")),
        ("post@bücher.example", ("", "post@bücher.example")),
        ("ops@localhost", ("", "ops@localhost")),
        ("ops@[192.0.2.1]", ("", "ops@[192.0.2.1]")),
        ("ops@[IPv6:2001:db8::1]", ("", "ops@[IPv6:2001:db8::1]")),
        ("o'hara+tag@example.org", ("", "o'hara+tag@example.org")),
    ],
)
def test_accepts(text: str, expected: tuple[str, str]) -> None:
    """What people write is split into display name and address."""
    assert parse_address(text) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it has no @"),
        ("jane", "it has no @"),
        ("@example.org", "part before the @"),
        ("jane@", "domain"),
        (".jane@example.org", "part before the @"),
        ("ja..ne@example.org", "part before the @"),
        ("ja ne@example.org", "part before the @"),
        ("ja\u00a0ne@example.org", "part before the @"),
        ('"jane"@example.org', "part before the @"),
        ("a@b@example.org", "part before the @"),
        ("jane@exa mple.org", "domain"),
        ("jane@-example.org", "domain"),
        ("jane@example..org", "domain"),
        ("jane@example.org.", "domain"),
        ("jane@exa_mple.org", "domain"),
        ("jane@" + "a" * 64 + ".org", "domain"),
        ("jane@\u3002org", "domain"),
        ("jane@[300.0.0.1]", "domain"),
        ("jane@[IPv6:nonsense]", "domain"),
        ("a" * 65 + "@example.org", "more than 64 octets"),
        ("ü" * 33 + "@example.org", "more than 64 octets"),
        ("jane@" + ".".join(["a" * 60] * 5), "at most 254 octets"),
        ("jane@example.org\r\nBcc: eve@example.org", "control character"),
        ("ja\0ne@example.org", "control character"),
        ("jane\u2028@example.org", "control character"),
        ("Jane <jane@example.org> tail", "part before the @"),
        ("Jane <<jane@example.org>", "write"),
        ("a@example.org,b@example.org", COMMA),
        ("Doe, Jane <jane@example.org>", COMMA),
        ("x" * 201 + " <jane@example.org>", "display name"),
        ("x" * 2000, "at most 1000 characters"),
    ],
)
def test_refuses(text: str, reason: str) -> None:
    """What is no address is refused with a sentence that does not repeat it."""
    with pytest.raises(ValueError, match=r".+") as caught:
        parse_address(text)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_semicolons_separate() -> None:
    """A string separates recipients by semicolons, except within a quoted name."""
    text = 'a@example.org; "Doe; Jane" <b@example.org>;; c@example.org ;'
    assert split_recipients(text) == (
        "a@example.org",
        '"Doe; Jane" <b@example.org>',
        "c@example.org",
    )
    assert split_recipients(" ; ") == ()
    assert split_recipients('"a\\";b" <x@example.org>') == ('"a\\";b" <x@example.org>',)


def test_a_quote_that_never_ends_is_not_dropped() -> None:
    """An unbalanced quote stays in its piece, so that the piece is refused."""
    (piece,) = split_recipients('"a; b@example.org')
    with pytest.raises(ValueError, match="not an email address"):
        parse_address(piece)


@settings(deadline=None)  # a loaded machine is no fault
@given(st.text(max_size=80))
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    """No text makes the parser fail otherwise, and what it returns is safe in a header."""
    try:
        name, address = parse_address(text)
    except ValueError:
        return
    assert not any(character in address for character in ' \t\r\n\0<>,;"')
    assert not any(character in name for character in "\r\n\0")
    assert address.count("@") == 1
