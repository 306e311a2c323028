"""Signed links and opaque cursors: what we made comes back, nothing else does."""

from __future__ import annotations

import contextlib
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin.http.cursors import Cursor, decode, encode
from admin.http.idempotency import fingerprint
from admin.keys import derive
from admin.ports import AdminSettings
from admin.receipts.links import LIFE_S, ReceiptLinks
from engine.errors import BadInput, Unauthorized
from engine.metering.policy import Policy

SECRET = "s" * 32


class Clock:
    def __init__(self, now_ms: int = 1_000_000_000) -> None:
        self.now_ms = now_ms

    def wall_ms(self) -> int:
        return self.now_ms


def links(clock: Any, secret: str = SECRET) -> ReceiptLinks:
    return ReceiptLinks(secret, clock)


def parts(url: str) -> tuple[str, str]:
    split = urlsplit(url)
    return split.path, parse_qs(split.query)["token"][0]


def test_a_link_speaks_for_its_user_until_it_expires() -> None:
    clock = Clock()
    made = links(clock)
    path, token = parts(made.session_url("usr_1", "ses_1"))
    assert path == "/api/v1/sessions/ses_1/receipt"
    clock.now_ms += LIFE_S * 1_000 - 1
    assert made.user_of(path, token) == "usr_1"
    clock.now_ms += 1
    with pytest.raises(Unauthorized, match="expired"):
        made.user_of(path, token)


@given(st.text(max_size=120))
def test_a_made_up_token_is_refused(token: str) -> None:
    with pytest.raises(Unauthorized):
        links(Clock()).user_of("/api/v1/sessions/ses_1/receipt", token)


def test_a_token_is_bound_to_path_user_expiry_and_secret() -> None:
    clock = Clock()
    path, token = parts(links(clock).order_url("usr_1", "ord_1"))
    expiry, user, signature = token.split(".")
    for attempt in (
        f"{int(expiry) + 1}.{user}.{signature}",
        f"{expiry}.usr_2.{signature}",
        f"{expiry}.{user}.{signature[:-1]}",
        f"{expiry}.{user}",
    ):
        with pytest.raises(Unauthorized):
            links(clock).user_of(path, attempt)
    with pytest.raises(Unauthorized):
        links(clock).user_of(path.replace("ord_1", "ord_2"), token)
    with pytest.raises(Unauthorized):
        links(clock, "t" * 32).user_of(path, token)


def test_keys_of_different_purposes_differ() -> None:
    assert derive(SECRET, "a") != derive(SECRET, "b")
    assert derive(SECRET, "a") != derive("t" * 32, "a")


@given(st.integers(-(2**63), 2**63 - 1), st.text(st.characters(codec="ascii", min_codepoint=1)))
def test_a_cursor_comes_back_as_it_was(at: int, id_: str) -> None:
    cursor = Cursor(at, id_[:40])
    assert decode(encode(cursor)) == cursor


@given(st.text(max_size=250))
def test_any_text_is_a_cursor_or_refused(text: str) -> None:
    found = None
    with contextlib.suppress(BadInput):
        found = decode(text)
    assert found is None or -(2**63) <= found.at < 2**63


def test_requests_are_the_same_whatever_the_order_of_members() -> None:
    assert fingerprint("POST", "/x", {"a": 1, "b": 2}) == fingerprint(
        "POST", "/x", {"b": 2, "a": 1}
    )
    assert fingerprint("POST", "/x", {"a": 1}) != fingerprint("POST", "/y", {"a": 1})
    assert fingerprint("POST", "/x", {"a": 1}) != fingerprint("POST", "/x", {"a": 2})


@pytest.mark.parametrize(
    "wrong", [{"secret": "short"}, {"public_url": "talktime.test"}, {"public_url": ""}]
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, str]) -> None:
    right: dict[str, Any] = {
        "public_url": "http://x",
        "secret": SECRET,
        "policy": Policy(commission_bps=0),
    }
    AdminSettings(**right)
    with pytest.raises(ValueError, match=next(iter(wrong))):
        AdminSettings(**(right | wrong))
    assert SECRET not in repr(AdminSettings(**right))
