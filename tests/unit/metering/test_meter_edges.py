"""What a meter shows, how it is taken up after a crash, and its single nanoseconds and units."""

from __future__ import annotations

from typing import Any

import pytest

from engine.clock import NS_PER_S
from engine.metering import signals as s
from engine.metering.funds import Fund
from engine.metering.meter import Meter
from engine.metering.policy import Policy
from engine.metering.tariff import Tariff
from tests.support.meter_rig import ORIGIN_NS, MeterRig, tariff

S = NS_PER_S
BLOCK = 90_000  # what a block of 900 s costs


def _meter(
    price: Tariff | None = None,
    *,
    funds: int = BLOCK,
    wallet: s.Wallet | None = None,
    text: bool = False,
    ordinal: int = 2,
    **more: Any,
) -> Meter:
    """By default beyond the order's grace, with one prepaid block of 900 s."""
    return Meter(
        price or tariff(900),
        Policy(commission_bps=1_500),
        text=text,
        ordinal=ordinal,
        holds=(Fund("prepay", funds),) if funds else (),
        wallet=wallet or s.Wallet(0),
        **more,
    )


def _started(meter: Meter) -> Meter:
    meter.handle(s.Start(ORIGIN_NS), ORIGIN_NS)
    return meter


def _of(effects: list[s.MeterEffect], kind: type[s.MeterEffect]) -> list[Any]:
    return [effect for effect in effects if isinstance(effect, kind)]


# What it shows ------------------------------------------------------------------------------------


def test_before_its_clock_runs_a_meter_shows_nothing() -> None:
    meter = _meter()
    assert not meter.started
    assert meter.elapsed_ns(ORIGIN_NS) == meter.confirmed_ns(ORIGIN_NS) == 0
    assert meter.due_minor(ORIGIN_NS) == 0
    assert _started(meter).started


def test_confirmed_is_what_was_acknowledged_and_elapsed_runs_on() -> None:
    meter = _started(_meter())
    meter.handle(s.Acked(ORIGIN_NS + 2 * S), ORIGIN_NS + 2 * S)
    assert meter.confirmed_ns(ORIGIN_NS + 3 * S) == 2 * S
    assert meter.elapsed_ns(ORIGIN_NS + 3 * S) == 3 * S


def test_what_is_due_is_nothing_within_the_grace_and_every_begun_block_beyond() -> None:
    rig = MeterRig(tariff(1, grace_seconds=2), wallet=BLOCK)
    rig.start()
    rig.wait(2_000)
    assert rig.meter.due_minor(rig.ns(2_000)) == 0
    rig.wait(2_500)
    assert rig.meter.due_minor(rig.ns(2_500)) == rig.tariff.due_minor(3)
    rig.wait(9_500)
    assert rig.meter.captured_minor < rig.meter.due_minor(rig.ns(9_500))
    assert rig.meter.due_minor(rig.ns(9_500)) == rig.tariff.due_minor(10)


def test_an_ended_meter_shows_how_it_ended_and_hears_nothing_more() -> None:
    meter = _started(_meter())
    meter.handle(s.Acked(ORIGIN_NS + 2 * S), ORIGIN_NS + 2 * S)
    assert meter.next_deadline_ns() is not None
    meter.finish(ORIGIN_NS + 3 * S)
    later = ORIGIN_NS + 999 * S
    assert meter.confirmed_ns(later) == meter.elapsed_ns(later) == 3 * S
    assert meter.due_minor(later) == BLOCK
    assert meter.next_deadline_ns() is None
    assert meter.handle(s.Tick(), later) == []


def test_an_end_is_nobodys_fault_unless_it_is_said() -> None:
    meter = _started(_meter())
    meter.finish(ORIGIN_NS + S)
    assert meter.settlement == s.Settlement(S, False, 1, 900 * S, BLOCK, 13_500)


def test_a_void_settlement_is_of_zeros() -> None:
    meter = _started(_meter(ordinal=1))
    assert meter.finish(ORIGIN_NS + S) == []
    assert meter.settlement == s.Settlement(S, True, 0, 0, 0, 0)


def test_at_the_end_of_the_money_nothing_is_left() -> None:
    meter = _started(_meter())
    assert meter.left_ns(ORIGIN_NS + 899 * S) > 0
    meter.handle(s.Acked(ORIGIN_NS + 2 * S), ORIGIN_NS + 2 * S)
    assert meter.left_ns(ORIGIN_NS + 4 * S) == 896 * S
    text = _started(_meter(text=True))
    assert text.left_ns(ORIGIN_NS + 900 * S) == 0


@pytest.mark.parametrize("block_s", [1, 60])
def test_what_nearly_costs_nothing_is_funded_for_thirty_days_at_most(block_s: int) -> None:
    crumbs = Tariff(
        currency="EUR",
        price_minor=1,
        per_seconds=86_400,
        block_seconds=block_s,
        prepaid_seconds=0,
        grace_seconds=0,
    )
    most = 30 * 86_400 // block_s + 1
    assert _meter(crumbs, funds=40).funded_blocks == most
    rich = _meter(crumbs, funds=0, wallet=s.Wallet(40))
    assert rich.left_ns(ORIGIN_NS) == most * block_s * S


# Taken up after a crash ---------------------------------------------------------------------------


def _taken_up(*, text: bool, served_s: int = 500) -> Meter:
    meter = _meter(text=text, wallet=s.Wallet(BLOCK))
    assert meter.next_deadline_ns() is None  # to be forgotten when the clock is there
    meter.take_up(s.Served(served_s * S, 1, BLOCK), ORIGIN_NS)
    return meter


@pytest.mark.parametrize("text", [True, False])
def test_a_meter_taken_up_stands_where_the_evidence_ends(text: bool) -> None:
    meter = _taken_up(text=text)
    assert meter.started
    assert meter.paused
    assert (meter.captured_blocks, meter.captured_minor) == (1, BLOCK)
    assert meter.elapsed_ns(ORIGIN_NS + 20 * S) == meter.confirmed_ns(ORIGIN_NS + 20 * S) == 500 * S
    effects = meter.handle(s.Tick(), ORIGIN_NS + 1)
    assert _of(effects, s.Paused) == _of(effects, s.Resumed) == []


def test_a_text_meter_taken_up_runs_from_the_moment_both_are_back() -> None:
    meter = _taken_up(text=True)
    effects = meter.handle(s.Connection(True), ORIGIN_NS + 20 * S)
    assert _of(effects, s.Resumed) == [s.Resumed(ORIGIN_NS + 20 * S)]
    assert meter.confirmed_ns(ORIGIN_NS + 30 * S) == 510 * S


def test_a_media_meter_taken_up_runs_from_the_next_frame_and_charges_the_next_block_once() -> None:
    meter = _taken_up(text=False)
    effects: list[s.MeterEffect] = []
    for at_s in range(20, 425):
        effects += meter.handle(s.Acked(ORIGIN_NS + at_s * S), ORIGIN_NS + at_s * S)
    assert meter.confirmed_ns(ORIGIN_NS + 424 * S) == 904 * S
    (second,) = _of(effects, s.Capture)
    assert (second.block, second.blocks, second.amount_minor) == (2, 1, BLOCK)


def test_parties_who_came_back_have_the_whole_window_for_their_first_frame() -> None:
    meter = _taken_up(text=False)
    window_ns = Policy(commission_bps=0).reconnect_window_ns
    assert meter.next_deadline_ns() == ORIGIN_NS + window_ns + 1
    meter.handle(s.Reattached(), ORIGIN_NS + 25 * S)
    assert meter.next_deadline_ns() == ORIGIN_NS + 25 * S + window_ns + 1


def test_a_text_meter_taken_up_without_money_ends_at_once() -> None:
    meter = _meter(text=True, funds=0)
    meter.take_up(s.Served(900 * S, 1, BLOCK), ORIGIN_NS)
    assert meter.handle(s.Tick(), ORIGIN_NS + 7)[-1] == s.Exhausted(ORIGIN_NS + 7)


# Holds --------------------------------------------------------------------------------------------


def test_attempts_are_counted_for_each_block_from_beyond_those_of_earlier_runs() -> None:
    assert _meter(funds=0).arm() == [s.PlaceHold(1, 1, 1, 0)]
    meter = _meter(funds=0, text=True, attempts_before=1_000)
    assert meter.arm() == [s.PlaceHold(1, 1_001, 1, 0)]
    meter.handle(s.HoldGranted(Fund("h", BLOCK), s.Wallet(BLOCK)), ORIGIN_NS)
    _started(meter)
    (ask,) = _of(meter.handle(s.Tick(), ORIGIN_NS + 890 * S), s.PlaceHold)
    assert ask == s.PlaceHold(2, 1_001, 1, BLOCK)
    meter.handle(s.HoldRefused(s.Wallet(5)), ORIGIN_NS + 890 * S)
    assert meter.wallet == s.Wallet(5)
    (ask,) = _of(meter.handle(s.Wallet(BLOCK), ORIGIN_NS + 891 * S), s.PlaceHold)
    assert ask == s.PlaceHold(2, 1_002, 1, BLOCK)


def test_short_single_blocks_are_set_aside_half_a_block_ahead() -> None:
    rig = MeterRig(tariff(16, prepaid_seconds=16), wallet=BLOCK)
    rig.start()
    rig.wait(40_000)
    asked = [at_ms for at_ms, _ in rig.of(s.PlaceHold)]
    assert asked == [8_000, 24_000, 40_000]


def test_with_less_than_the_lead_set_aside_more_is_asked_for_at_the_start() -> None:
    meter = _meter(tariff(1), funds=100, wallet=s.Wallet(BLOCK))
    effects = meter.handle(s.Start(ORIGIN_NS), ORIGIN_NS)
    assert len(_of(effects, s.PlaceHold)) == 1


def test_money_that_arrives_at_the_very_end_of_the_money_is_in_time() -> None:
    meter = _started(_meter(text=True, wallet=s.Wallet(BLOCK)))
    meter.handle(s.Tick(), ORIGIN_NS + 890 * S)
    end_ns = ORIGIN_NS + 900 * S
    effects = meter.handle(s.HoldGranted(Fund("h", BLOCK), s.Wallet(0)), end_ns)
    assert _of(effects, s.Exhausted) == []
    assert meter.handle(s.Tick(), end_ns + S) != []
    assert meter.elapsed_ns(end_ns + S) == 901 * S


# Deadlines and warnings ---------------------------------------------------------------------------


def test_a_text_block_beyond_the_grace_sessions_is_due_a_nanosecond_after_it_began() -> None:
    meter = _started(_meter(text=True))
    assert meter.next_deadline_ns() == ORIGIN_NS + 1
    assert len(_of(meter.handle(s.Tick(), ORIGIN_NS + 1), s.Capture)) == 1
    assert meter.next_deadline_ns() == ORIGIN_NS + 780 * S  # 120 s before the end: the warning


def test_a_warning_is_given_once_however_often_the_wallet_is_told() -> None:
    meter = _started(_meter(text=True))
    at_ns = ORIGIN_NS + 780 * S
    assert len(_of(meter.handle(s.Tick(), at_ns), s.LowBalance)) == 1
    assert _of(meter.handle(s.Wallet(0), at_ns), s.LowBalance) == []
    assert _of(meter.handle(s.Tick(), at_ns + 1), s.LowBalance) == []


def test_a_warning_tells_what_is_missing_beside_a_fair_share() -> None:
    meter = _started(_meter(text=True, wallet=s.Wallet(70_000, sharers=2)))
    (low,) = _of(meter.handle(s.Tick(), ORIGIN_NS + 780 * S), s.LowBalance)
    assert low == s.LowBalance(120 * S, 2 * BLOCK - BLOCK - 35_000)


def test_it_is_short_of_money_from_the_warning_on_until_more_is_there() -> None:
    meter = _started(_meter(text=True))
    warned_ns = ORIGIN_NS + 780 * S
    meter.handle(s.Tick(), warned_ns - 1)
    assert not meter.short
    meter.handle(s.Tick(), warned_ns)
    assert meter.short
    meter.handle(s.Wallet(BLOCK), warned_ns)
    assert not meter.short


def test_it_is_short_of_money_while_a_hold_is_refused_though_nobody_is_warned() -> None:
    meter = Meter(
        tariff(900),
        Policy(commission_bps=1_500, low_balance_s=()),
        text=True,
        ordinal=2,
        holds=(Fund("prepay", BLOCK),),
        wallet=s.Wallet(0),
    )
    _started(meter)
    asked = meter.handle(s.Tick(), ORIGIN_NS + 890 * S)
    assert len(_of(asked, s.PlaceHold)) == 1
    assert not meter.short
    meter.handle(s.HoldRefused(s.Wallet(0)), ORIGIN_NS + 890 * S)
    assert meter.short
    meter.handle(s.Tick(), ORIGIN_NS + 900 * S)
    assert not meter.short  # it is over


def test_a_text_session_is_not_ended_by_silence() -> None:
    meter = _started(_meter(text=True))
    meter.handle(s.Connection(False), ORIGIN_NS + S)
    assert meter.next_deadline_ns() is None
    assert meter.handle(s.Tick(), ORIGIN_NS + 500 * S) == []


# The last capture ---------------------------------------------------------------------------------


def _crumb_tariff() -> Tariff:
    return tariff(900, price_minor=900)  # one unit a second


def test_one_unit_too_much_is_given_back() -> None:
    meter = _started(_meter(_crumb_tariff(), funds=900, text=True))
    meter.handle(s.Tick(), ORIGIN_NS + S)
    (back,) = meter.finish(ORIGIN_NS + 899 * S + S // 2, fault=True)
    assert back == s.GiveBack(1, 1, 135 - 134)


@pytest.mark.parametrize("fault", [True, False])
def test_an_end_at_a_boundary_moves_nothing_more(fault: bool) -> None:
    meter = _started(_meter(_crumb_tariff(), funds=900, text=True))
    meter.handle(s.Tick(), ORIGIN_NS + S)
    assert meter.finish(ORIGIN_NS + 900 * S, fault=fault) == []
