"""What people type about themselves, and which passwords are too weak."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin.accounts import inputs, strength
from engine.errors import BadInput


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        (" Mira@Example.ORG ", "mira@example.org"),
        ("a.b+c@sub.example.co", "a.b+c@sub.example.co"),
        ("x@bücher.example", "x@xn--bcher-kva.example"),
    ],
)
def test_addresses_have_one_form(typed: str, stored: str) -> None:
    assert inputs.email(typed) == stored == inputs.email(stored)


@given(st.text(max_size=300))
def test_whatever_is_typed_is_an_address_or_refused(text: str) -> None:
    inputs.known_email(text)
    with contextlib.suppress(BadInput):
        stored = inputs.email(text)
        assert stored.isascii()
        assert stored.isprintable()
        assert inputs.email(stored) == stored


@given(st.text(max_size=100))
def test_whatever_is_typed_is_a_name_or_refused(text: str) -> None:
    with contextlib.suppress(BadInput):
        name = inputs.display_name(text)
        assert inputs.display_name(name) == name
        assert "\n" not in name


@given(st.text(max_size=256))
def test_every_password_is_judged(password: str) -> None:
    with contextlib.suppress(BadInput):
        strength.check(password, ("mira@example.org", password[:20]))
        assert len(password) >= strength.LEAST_CHARACTERS


@pytest.mark.parametrize(
    "password",
    [
        "password12",
        "P@ssw0rd2024",
        "Passw0rd!Passw0rd!",
        "qwertyuiop1",
        "1234567890",
        "0987654321",
        "aaaaaaaaaaaa",
        "abcabcabcabc",
        "letmein12345",
        "iloveyou2026",
        "1q2w3e4r5t6y",
        "йцукенгшщз",
        "mira.lind2024",
        "MiraLindExample",
    ],
)
def test_what_is_easily_guessed_is_refused(password: str) -> None:
    with pytest.raises(BadInput) as refused:
        strength.check(password, ("mira.lind@example.org", "Mira Lind"))
    assert refused.value.code == "password_too_common"


@pytest.mark.parametrize(
    "password",
    ["demo-talktime", "correct horse battery", "violet tram 81", "kT9!vv2#qpLm", "سلام دنیای من"],
)
def test_what_is_not_is_taken(password: str) -> None:
    strength.check(password, ("mira.lind@example.org", "Mira Lind"))
