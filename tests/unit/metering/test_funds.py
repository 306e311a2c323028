from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.metering.funds import Fund, Funds, Part, next_slice
from engine.metering.policy import PAUSE_AFTER_NS
from engine.metering.stopwatch import MediaWatch, TextWatch
from tests.support.meter_rig import tariff


def test_the_prepaid_hold_is_used_up_before_the_next() -> None:
    funds = Funds([Fund("prepay", 100), Fund("empty", 0)])
    funds.add(Fund("slice", 50))
    assert funds.take(80) == (Part("prepay", 80),)
    assert funds.take(40) == (Part("prepay", 20), Part("slice", 20))
    assert funds.take(0) == ()
    assert (funds.captured_minor, funds.total_minor) == (120, 150)
    with pytest.raises(AssertionError):
        funds.take(31)


@given(
    total=st.integers(0, 10_000),
    wanted=st.integers(1, 60),
    available=st.integers(0, 10_000),
    sharers=st.integers(1, 5),
)
def test_a_slice_is_the_largest_fair_one_and_never_under_a_block(
    total: int, wanted: int, available: int, sharers: int
) -> None:
    price = tariff(1)
    found = next_slice(
        price, total, wanted_blocks=wanted, available_minor=available, sharers=sharers
    )
    funded = price.affordable_blocks(total)
    assert 1 <= found.blocks <= wanted
    assert found.amount_minor == price.due_minor(funded + found.blocks) - total > 0
    share = available // sharers
    if found.blocks > 1:
        assert found.amount_minor <= share
    if found.blocks < wanted:
        assert price.due_minor(funded + found.blocks + 1) - total > share


def test_a_media_watch_ignores_old_news() -> None:
    watch = MediaWatch(1_000)
    watch.acked(1_500)
    watch.acked(1_200)
    assert watch.confirmed_ns(9_999) == 500
    assert watch.elapsed_ns(1_700) == 700
    assert watch.elapsed_ns(1_400) == 500
    assert watch.instant_of(600) == 1_600
    assert watch.paused(1_500 + PAUSE_AFTER_NS)
    assert not watch.paused(1_499 + PAUSE_AFTER_NS)


def test_a_text_watch_stops_and_runs_once_each() -> None:
    watch = TextWatch(1_000, running=True)
    watch.stop(1_300)
    watch.stop(1_500)
    assert watch.elapsed_ns(9_000) == watch.confirmed_ns(9_000) == 300
    assert watch.instant_of(400) is None
    assert watch.last_service_ns(9_000) == 1_300
    watch.run(2_000)
    watch.run(2_500)
    assert watch.elapsed_ns(2_600) == 900
    assert watch.instant_of(1_000) == 2_700
    assert watch.last_service_ns(2_600) == 2_600
    assert TextWatch(5, running=False).elapsed_ns(50) == 0
