"""Cursors and payment webhooks: whatever is sent, a refusal with a code or a value."""

from __future__ import annotations

import base64
import contextlib

from hypothesis import given
from hypothesis import strategies as st

from admin.http import cursors
from admin.payments.test_provider import TestProvider
from engine.errors import BadInput, Unauthorized
from tests.support.virtual_clock import VirtualClock

CLOCK = VirtualClock()
PROVIDER = TestProvider(secret="s" * 40, public_url="https://t.example", clock=CLOCK)
HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")


@given(st.text(max_size=400))
def test_a_made_up_cursor_is_refused(text: str) -> None:
    with contextlib.suppress(BadInput):
        cursors.decode(text)


@given(st.binary(max_size=200))
def test_a_cursor_of_any_bytes_is_refused_or_leads_back_to_itself(data: bytes) -> None:
    text = base64.urlsafe_b64encode(data).decode().rstrip("=")
    with contextlib.suppress(BadInput):
        cursor = cursors.decode(text)
        assert cursor is not None
        assert cursors.decode(cursors.encode(cursor)) == cursor


@given(st.dictionaries(st.sampled_from(HEADERS), st.text(max_size=80)), st.binary(max_size=200))
def test_an_unsigned_webhook_books_nothing(headers: dict[str, str], body: bytes) -> None:
    try:
        PROVIDER.parse_webhook(headers, body)
    except (Unauthorized, BadInput):
        return
    raise AssertionError("it was believed")


DELIVERIES = st.builds(
    lambda before, value, after: b'{"type": ' + before + b'"' + value + b'"' + after,
    *(st.just(b"") | st.binary(max_size=9), st.binary(max_size=20), st.just(b"}")),
)


@given(st.binary(max_size=200) | DELIVERIES)
def test_a_signed_webhook_of_any_bytes_is_refused_or_does_not_concern_us(body: bytes) -> None:
    sent_at = str(CLOCK.wall_ms() // 1_000)
    signature = PROVIDER._signature("msg_1", sent_at, body)
    values = ("msg_1", sent_at, signature)
    with contextlib.suppress(BadInput):
        assert PROVIDER.parse_webhook(dict(zip(HEADERS, values, strict=True)), body) is None
