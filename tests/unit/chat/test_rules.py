"""Bodies, parties and read marks."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.chat.rules import (
    MAX_BODY_CHARS,
    furthest_mark,
    normalise_body,
    one_place,
    other_party,
    require_member,
    warning,
)
from engine.errors import BadInput, NotFound


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("hello", "hello"),
        ("  hello \n", "hello"),
        ("a\r\nb\rc\u2028d", "a\nb\nc\nd"),
        ("e\u0301", "é"),
        ("a\x00b\x1bc\td", "abc\td"),
        ("safe\u202egpj.exe", "safegpj.exe"),
        ("👩\u200d👩\u200d👧 שלום", "👩\u200d👩\u200d👧 שלום"),
    ],
)
def test_a_body_is_stored_in_one_form(sent: str, stored: str) -> None:
    assert normalise_body(sent) == stored


_BLANKS = "".join(char for char in map(chr, range(0x110000)) if char.isspace()) + (
    "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)


@given(st.text(st.characters(), max_size=200))
def test_normalising_is_stable_and_storable_or_refused(body: str) -> None:
    visible = "".join(char for char in body if unicodedata.category(char) not in ("Cc", "Cs"))
    if not visible.strip(_BLANKS):
        with pytest.raises(BadInput, match="needs text"):
            normalise_body(body)
        return
    stored = normalise_body(body)
    assert normalise_body(stored) == stored
    assert stored.encode()
    assert not {"\x00", "\r"} & set(stored)
    assert unicodedata.is_normalized("NFC", stored)


def test_the_longest_body_passes_and_one_more_does_not() -> None:
    assert len(normalise_body("x" * MAX_BODY_CHARS)) == MAX_BODY_CHARS
    for body in ("x" * (MAX_BODY_CHARS + 1), "x" * 10_000_000):
        with pytest.raises(BadInput, match="at most") as refused:
            normalise_body(body)
        assert refused.value.code == "message_too_long"


def test_only_members_are_known() -> None:
    require_member("c", ("c", "e"))
    with pytest.raises(NotFound):
        require_member("x", ("c", "e"))


@pytest.mark.parametrize(("session", "conversation"), [(None, None), ("s", "c")])
def test_a_message_has_one_place(session: str | None, conversation: str | None) -> None:
    with pytest.raises(BadInput):
        one_place(session, conversation)
    one_place("s", None)
    one_place(None, "c")


def test_authors_are_warned_of_what_was_hidden() -> None:
    assert warning([]) is None
    assert "pay on this site" in str(warning(["card"]))
    assert "until an order is paid" in str(warning(["card", "phone"]))


def test_an_empty_body_goes_with_files_only() -> None:
    assert normalise_body(" ", empty=True) == ""


def test_parties_are_two() -> None:
    assert other_party("c", "c", "e") == "e"
    assert other_party("e", "c", "e") == "c"


@given(asked=st.integers(0, 100), last_seq=st.integers(0, 50))
def test_a_read_mark_stays_within_the_conversation(asked: int, last_seq: int) -> None:
    assert furthest_mark(asked, last_seq) == (asked if asked <= last_seq else last_seq)
