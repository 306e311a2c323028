"""Idempotency keys and the hash that tells two requests under one key apart."""

from __future__ import annotations

import pytest

from engine.errors import BadInput
from engine.metering.ledger.keys import MAX_KEY_LENGTH, check_key, request_hash


@pytest.mark.parametrize("length", [1, MAX_KEY_LENGTH])
def test_a_key_may_be_as_long_as_its_column(length: int) -> None:
    assert MAX_KEY_LENGTH == 160
    assert check_key("k" * length) == "k" * length


@pytest.mark.parametrize("length", [0, MAX_KEY_LENGTH + 1])
def test_a_key_that_does_not_fit_is_refused(length: int) -> None:
    with pytest.raises(BadInput) as refused:
        check_key("k" * length)
    assert refused.value.code == "bad_key"


def test_a_hash_outlives_the_release_that_stored_it() -> None:
    """It is compared with hashes in the store, so it is part of the store's format."""
    request = ("hold", "usr_1", "TRY", 90_000, None, {"b": 2, "a": 1})
    assert request_hash(*request) == (
        "b7ccadc903d889331033fd7441444e82ab4ec7bc12147ea5997083b69e3c1393"
    )


def test_the_order_of_a_captures_parts_does_not_matter() -> None:
    assert request_hash("capture", {"h1": 1, "h2": 2}) == request_hash(
        "capture", {"h2": 2, "h1": 1}
    )
    assert request_hash("capture", {"h1": 1, "h2": 2}) != request_hash(
        "capture", {"h1": 2, "h2": 1}
    )
