"""Logs show no secrets, and whole addresses only to whom they are asked for."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from worker.telemetry.masking import mask, mask_addresses, one_line, redact


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("jane@example.nz", "j…e@example.nz"),
        ("ab@example.nz", "…@example.nz"),
        ("a@b", "…@b"),
        (
            "550 5.1.1 <john.smith+tag@example.nz>: no such user",
            "550 5.1.1 <j…g@example.nz>: no such user",
        ),
        ('"john smith"@example.nz', '"…"@example.nz'),
        ("user@[192.0.2.1] refused", "u…r@[192.0.2.1] refused"),
        ("to=jane@example.nz,bob@example.nz", "to=j…e@example.nz,b…b@example.nz"),
        ("jürgen@bücher.example", "j…n@bücher.example"),
        ("no address here", "no address here"),
        ("at @ sign", "at @ sign"),
    ],
)
def test_addresses_are_shortened(text: str, masked: str) -> None:
    """An address keeps the ends of its local part and its domain, wherever it stands."""
    assert mask_addresses(text) == masked


@given(
    st.from_regex(r"[a-z0-9.+_-]{3,40}", fullmatch=True),
    st.from_regex(r"[a-z]{1,10}\.nz", fullmatch=True),
    st.text(alphabet=' <>:;,"()', min_size=1, max_size=5),
)
def test_no_local_part_survives(local: str, domain: str, around: str) -> None:
    """Whatever stands around it, a local part of three letters or more is never shown whole."""
    assert f"{local}@" not in mask_addresses(f"{around}{local}@{domain}{around}")


def test_masking_is_linear() -> None:
    """A long reply made to be slow is not."""
    started = time.perf_counter()
    mask_addresses("a" * 200_000 + " @ " + "b@" * 20_000 + '"' * 2_000 + "@")
    assert time.perf_counter() - started < 2.0


def test_ids_that_look_like_addresses_are_kept() -> None:
    """A Message-ID is needed whole to find a mail at the server."""
    line = {"message_id": "<0190@example.nz>", "reply": "<0190@example.nz>"}
    assert mask(line) == {"message_id": "<0190@example.nz>", "reply": "<0…0@example.nz>"}


def test_nested_values_are_masked() -> None:
    """Lists and tables inside a line are looked through."""
    assert mask({"missed": ["jane@example.nz: 550"], "n": 3}) == {
        "missed": ["j…e@example.nz: 550"],
        "n": 3,
    }


@pytest.mark.parametrize(
    "key",
    ["password", "SMTP_PASSWORD", "client_secret", "access_token", "api_key", "Authorization"],
)
def test_secret_keys_are_hidden(key: str) -> None:
    """A value under a name that stands for a secret is never shown."""
    assert redact({key: "hunter2"}) == {key: "***"}


def test_secret_values_are_hidden() -> None:
    """A SecretStr is hidden under any name and at any depth; passwords in URLs too."""
    line = {"a": [SecretStr("hunter2")], "url": "amqp://bob:hunter2@mq:5672/", "passed": 3}
    assert redact(line) == {"a": ["***"], "url": "amqp://bob:***@mq:5672/", "passed": 3}


def test_objects_become_text() -> None:
    """What is neither text nor number is shown as its text, and that is looked at as well."""
    assert mask({"error": ValueError("no jane@example.nz")}) == {"error": "no j…e@example.nz"}
    assert redact({"n": 3, "on": True, "none": None, "x": 0.5}) == {
        "n": 3,
        "on": True,
        "none": None,
        "x": 0.5,
    }


def test_foreign_text_writes_no_lines_of_its_own() -> None:
    """Line breaks and terminal sequences in a server's reply come out harmless."""
    assert one_line(["250 ok\r\nforged\x1b[31m"]) == ["250 ok??forged?[31m"]


@pytest.mark.parametrize("mark", "\u061c\u200e\u200f\u202a\u202e\u2066\u2069")
def test_foreign_text_does_not_turn_its_line_round(mark: str) -> None:
    """Unicode's Bidi_Control characters show a name as another one (CVE-2021-42574)."""
    assert one_line(f"acme{mark}gpj.exe") == "acme?gpj.exe"


@pytest.mark.parametrize("text", ["שלום", "مرحبا", "👩\u200d🔧", "zero\u200bwidth"])
def test_foreign_scripts_are_kept(text: str) -> None:
    """Letters that run from right to left, and what joins the parts of one sign, do no harm."""
    assert one_line(text) == text
