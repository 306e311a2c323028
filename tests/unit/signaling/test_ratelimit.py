"""GCRA against a naive count of what a bucket would let through."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.clock import NS_PER_MS, NS_PER_S
from engine.errors import RateLimited
from engine.ratelimit import Limiter, Rate


def test_a_burst_passes_at_once_and_then_the_rate_rules() -> None:
    limiter = Limiter(Rate(per_s=2, burst=3))
    assert [limiter.hit("a", 0) for _ in range(4)] == [0, 0, 0, NS_PER_S // 2]
    assert limiter.hit("a", NS_PER_S // 2 - 1) == 1
    assert limiter.hit("a", NS_PER_S // 2) == 0
    assert limiter.hit("b", 0) == 0


def test_refusals_cost_nothing() -> None:
    limiter = Limiter(Rate(per_s=1, burst=1))
    limiter.hit("a", 0)
    for _ in range(100):
        assert limiter.hit("a", NS_PER_S // 2) == NS_PER_S // 2
    assert limiter.hit("a", NS_PER_S) == 0


def test_the_error_tells_how_long_to_wait_and_waiting_helps() -> None:
    limiter = Limiter(Rate(per_s=3, burst=1))
    limiter.require("a", 0)
    with pytest.raises(RateLimited) as refused:
        limiter.require("a", 1)
    retry_after = refused.value.extra["retry_after"]
    assert isinstance(retry_after, float)
    limiter.require("a", 1 + int(retry_after * NS_PER_S))
    assert (refused.value.code, refused.value.status) == ("rate_limited", 429)


def test_memory_is_bounded_and_the_longest_unused_key_goes_first() -> None:
    limiter = Limiter(Rate(per_s=1, burst=1), max_keys=2)
    for key in ("a", "b"):
        limiter.hit(key, 0)
    assert limiter.hit("c", 0) == 0
    assert len(limiter) == 2
    assert limiter.hit("b", 0) > 0
    assert limiter.hit("a", 0) == 0  # forgotten


@pytest.mark.parametrize(("per_s", "burst"), [(0, 1), (-1, 1), (1, 0)])
def test_a_rate_that_lets_nothing_through_is_refused(per_s: float, burst: int) -> None:
    with pytest.raises(ValueError, match=r"per_s|burst"):
        Rate(per_s, burst)


@given(
    burst=st.integers(1, 5),
    interval_ms=st.integers(1, 1_000),
    pauses_ms=st.lists(st.integers(0, 2_000), max_size=60),
)
def test_it_lets_through_what_a_leaky_bucket_lets_through(
    burst: int, interval_ms: int, pauses_ms: list[int]
) -> None:
    rate = Rate(1_000 / interval_ms, burst)
    limiter = Limiter(rate)
    now_ms, level_ms = 0, 0.0  # the bucket's filling, in milliseconds of draining
    for pause_ms in pauses_ms:
        now_ms += pause_ms
        level_ms = max(0.0, level_ms - pause_ms)
        fits = level_ms + interval_ms <= interval_ms * burst
        assert (limiter.hit("a", now_ms * NS_PER_MS) == 0) is fits
        if fits:
            level_ms += interval_ms
