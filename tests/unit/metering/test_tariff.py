from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.clock import NS_PER_MS, NS_PER_S
from engine.metering.policy import Policy
from engine.metering.tariff import Tariff
from tests.support.meter_rig import tariff


@st.composite
def tariffs(draw: st.DrawFn) -> Tariff:
    return Tariff(
        currency="EUR",
        price_minor=draw(st.integers(1, 10**6)),
        per_seconds=draw(st.sampled_from([1, 60, 900, 3600])),
        block_seconds=draw(st.sampled_from([1, 7, 60, 900])),
        prepaid_seconds=draw(st.integers(0, 3600)),
        grace_seconds=60,
    )


@pytest.mark.parametrize(
    ("elapsed_ms", "blocks"),
    [(0, 0), (1, 1), (899_999, 1), (900_000, 1), (900_001, 2), (1_800_000, 2), (1_800_001, 3)],
)
def test_a_block_begins_only_beyond_its_boundary(elapsed_ms: int, blocks: int) -> None:
    assert tariff(900).blocks(elapsed_ms * NS_PER_MS) == blocks


def test_3000_an_hour_by_the_second_is_3000_after_an_hour() -> None:
    by_second = Tariff(
        currency="TRY",
        price_minor=300_000,
        per_seconds=3600,
        block_seconds=1,
        prepaid_seconds=0,
        grace_seconds=0,
    )
    assert by_second.due_minor(by_second.blocks(3600 * NS_PER_S)) == 300_000
    assert by_second.block_price_minor() == 83


@given(tariffs(), st.integers(0, 10**9))
def test_affordable_blocks_are_the_most_that_the_money_pays(tariff: Tariff, funds: int) -> None:
    blocks = tariff.affordable_blocks(funds)
    assert tariff.due_minor(blocks) <= funds < tariff.due_minor(blocks + 1)


@given(tariffs(), st.integers(0, 10**5))
def test_prorata_meets_the_price_of_whole_blocks(tariff: Tariff, blocks: int) -> None:
    assert tariff.prorata_minor(blocks * tariff.block_ns) == tariff.due_minor(blocks)
    assert tariff.due_minor(blocks) <= tariff.prorata_minor(blocks * tariff.block_ns + 1)


def test_prepay_covers_the_blocks_begun_within_the_prepaid_time() -> None:
    assert tariff(900).prepay_minor() == 90_000
    assert tariff(60, prepaid_seconds=61).prepay_minor() == 12_000
    assert tariff(900, prepaid_seconds=0).prepay_minor() == 0


@pytest.mark.parametrize(
    ("elapsed_ms", "ordinal", "free"),
    [
        (59_999, 1, True),
        (60_000, 1, True),
        (60_001, 1, False),
        (1, 2, False),
    ],
)
def test_T22_T23_only_the_first_session_is_free_within_one_minute_inclusive(
    elapsed_ms: int, ordinal: int, free: bool
) -> None:
    assert tariff(900).in_grace(ordinal, elapsed_ms * NS_PER_MS) is free


def test_no_grace_is_not_a_grace_of_zero_seconds() -> None:
    assert not tariff(900, grace_seconds=0).in_grace(1, 0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("price_minor", 0),
        ("per_seconds", 0),
        ("block_seconds", 0),
        ("block_seconds", 86_401),
        ("prepaid_seconds", -1),
        ("grace_seconds", -1),
        ("clock_message", 0),
        ("grace_sessions", -1),
    ],
)
def test_a_wrong_tariff_is_refused_by_the_name_of_its_field(field: str, value: int) -> None:
    with pytest.raises(ValueError, match=field):
        tariff(900, **{field: value})


def test_a_tariff_survives_its_snapshot() -> None:
    before = tariff(900)
    assert msgspec.convert(msgspec.to_builtins(before), Tariff) == before


@pytest.mark.parametrize(
    "changes",
    [
        {"commission_bps": 10_001},
        {"commission_bps": 0, "presence": {"available": "ring"}},
        {"commission_bps": 0, "reconnect_window_s": 3},
        {"commission_bps": 0, "hold_slice_seconds": 1},
        {"commission_bps": 0, "low_balance_s": (-1,)},
    ],
)
def test_a_wrong_policy_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(reversed(changes))):
        Policy(**changes)


def test_a_policy_survives_its_snapshot_and_refuses_calls_at_an_unknown_status() -> None:
    policy = Policy(commission_bps=1500)
    assert msgspec.convert(msgspec.to_builtins(policy), Policy) == policy
    assert policy.ring("available") == "ring"
    assert policy.ring("on the moon") == "refuse"
