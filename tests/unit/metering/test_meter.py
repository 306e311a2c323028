from __future__ import annotations

import pytest

from engine.clock import NS_PER_MS, NS_PER_S
from engine.metering import signals as s
from engine.metering.policy import PAUSE_AFTER_REPORTS_ONLY_NS, Policy
from engine.metering.tariff import Tariff
from tests.support.meter_rig import MeterRig, tariff


@pytest.mark.parametrize(
    ("end_ms", "blocks"),
    [(59_999, 0), (60_000, 0), (60_001, 1), (899_999, 1), (900_000, 1), (900_001, 2)],
)
def test_C1_C2_a_first_session_of_long_blocks(end_ms: int, blocks: int) -> None:
    rig = MeterRig(tariff(900), wallet=90_000)
    rig.start()
    settlement = rig.end(end_ms)
    assert settlement.blocks == blocks
    assert settlement.void is (blocks == 0)
    assert settlement.total_minor == rig.captured == 90_000 * blocks
    assert rig.fees == settlement.fee_minor == 13_500 * blocks
    assert rig.available == 90_000 - 90_000 * max(0, blocks - 1)


@pytest.mark.parametrize(
    ("block_s", "end_ms", "total"),
    [
        (60, 59_999, 0),
        (60, 60_000, 0),
        (60, 60_001, 12_000),
        (60, 899_999, 90_000),
        (60, 900_000, 90_000),
        (60, 900_001, 96_000),
        (1, 59_999, 0),
        (1, 60_000, 0),
        (1, 60_001, 6_100),
        (1, 899_999, 90_000),
        (1, 900_000, 90_000),
        (1, 900_001, 90_100),
    ],
)
def test_boundaries_of_short_blocks(block_s: int, end_ms: int, total: int) -> None:
    rig = MeterRig(tariff(block_s), wallet=90_000)
    rig.start()
    assert rig.end(end_ms).total_minor == rig.captured == total


def test_C4_a_later_session_pays_its_first_block_at_once() -> None:
    rig = MeterRig(tariff(900), wallet=90_000, prepaid=0, ordinal=2)
    rig.start()
    assert rig.available == 0  # set aside before anything was served
    rig.ack(20)
    assert rig.captured == 90_000
    assert rig.end(1_000).billed_ns == 900 * NS_PER_S


def test_nothing_is_captured_for_a_frame_and_no_time() -> None:
    rig = MeterRig(tariff(900), ordinal=2)
    rig.start()
    assert rig.end().blocks == 0
    assert rig.captured == 0


def test_C5_without_money_for_the_next_block_it_ends_at_the_boundary() -> None:
    rig = MeterRig(tariff(900), wallet=89_999)
    rig.start()
    rig.wait(1_000_000)
    assert rig.ended == s.Exhausted(rig.ns(900_000))
    assert rig.end().total_minor == 90_000
    assert rig.available == 89_999


def test_C6_money_that_comes_in_time_keeps_it_running() -> None:
    rig = MeterRig(tariff(900), wallet=89_999)
    rig.start()
    rig.wait(899_000)
    rig.topup(1)
    rig.wait(900_000)
    assert rig.captured == 90_000
    rig.ack(900_001)
    assert rig.captured == 180_000
    rig.wait(1_000_000)
    assert rig.ended is None
    attempts = [hold for _, hold in rig.of(s.PlaceHold)]
    assert attempts == [s.PlaceHold(2, 1, 1, 90_000), s.PlaceHold(2, 2, 1, 90_000)]


def test_money_stamped_exactly_at_the_end_is_in_time_for_the_wallet_but_not_for_a_hold() -> None:
    rig = MeterRig(tariff(900), wallet=0)
    rig.start()
    rig.wait(899_999)
    rig.now_ms = 900_000
    rig.topup(90_000)
    assert isinstance(rig.ended, s.Exhausted)


def test_a_refused_hold_is_not_asked_for_again_until_the_wallet_changes() -> None:
    rig = MeterRig(tariff(900), wallet=50_000)
    rig.start()
    rig.wait(895_000)
    rig.topup(10)  # not enough for a block
    rig.wait(899_000)
    assert len(rig.of(s.PlaceHold)) == 1


def test_long_blocks_are_set_aside_ten_seconds_ahead() -> None:
    rig = MeterRig(tariff(900), wallet=90_000)
    rig.start()
    rig.wait(889_999)
    assert rig.available == 90_000
    rig.wait(890_000)
    assert rig.available == 0
    assert rig.end(900_000).total_minor == 90_000  # a hangup at the boundary beats the renewal
    assert rig.available == 90_000


def test_short_blocks_are_set_aside_in_slices_and_captured_in_batches() -> None:
    rig = MeterRig(tariff(1), prepaid=0, wallet=100_000, ordinal=2)
    rig.start()
    rig.wait(60_000)
    asked = [(at, hold.block, hold.blocks) for at, hold in rig.of(s.PlaceHold)]  # type: ignore[union-attr]
    assert asked == [(0, 1, 30), (15_000, 31, 30), (45_000, 61, 30)]
    assert [at for at, _ in rig.of(s.Capture)] == [15_000, 45_000]  # beside the holds
    assert rig.end().total_minor == rig.captured == 6_000


def test_the_last_slice_is_what_the_money_pays_and_not_a_second_more() -> None:
    rig = MeterRig(tariff(1), prepaid=0, wallet=4_250, ordinal=2)
    rig.start()
    rig.wait(100_000)
    assert rig.ended == s.Exhausted(rig.ns(42_000))
    assert rig.end().total_minor == rig.captured == 4_200
    assert rig.available == 50


def test_without_an_answer_of_the_ledger_it_ends_where_it_is_paid_until() -> None:
    rig = MeterRig(tariff(1), prepaid=3_000, wallet=100_000, ordinal=2)
    rig.start()
    rig.answering = False
    rig.wait(100_000)
    assert rig.ended == s.Exhausted(rig.ns(30_000))
    assert len(rig.of(s.PlaceHold)) == 1
    assert rig.end().total_minor == 3_000


def test_without_money_for_the_first_block_it_does_not_begin() -> None:
    rig = MeterRig(tariff(900), prepaid=0, wallet=89_999)
    rig.start()
    assert isinstance(rig.ended, s.Exhausted)
    assert rig.end() == s.NOTHING


def test_C16_a_silence_is_a_pause_from_the_last_acknowledged_frame_on() -> None:
    rig = MeterRig(tariff(900))
    rig.start()
    rig.wait(100_000)
    rig.wait(102_999, acks_every_ms=None)
    assert not rig.of(s.Paused)
    assert rig.meter.elapsed_ns(rig.ns(102_999)) == 102_999 * NS_PER_MS
    rig.wait(103_000, acks_every_ms=None)
    assert rig.of(s.Paused) == [(103_000, s.Paused(rig.ns(100_000)))]
    rig.ack(110_000)
    assert rig.of(s.Resumed) == [(110_000, s.Resumed(rig.ns(110_000)))]
    assert rig.end(120_000).elapsed_ns == 110_000 * NS_PER_MS


@pytest.mark.parametrize(("gap_ms", "served_ms"), [(7_500, 75_000), (9_000, 0)])
def test_who_reports_seldom_is_billed_all_the_same(gap_ms: int, served_ms: int) -> None:
    """Audio receivers without transport-wide feedback report every 2.5 to 7.5 s."""
    rig = MeterRig(tariff(900, grace_seconds=0))
    rig.start(pause_after_ns=PAUSE_AFTER_REPORTS_ONLY_NS)
    for number in range(1, 11):
        rig.ack(number * gap_ms)
    paused = [at_ms for at_ms, _ in rig.of(s.Paused)]
    assert paused == ([] if served_ms else [number * gap_ms + 8_000 for number in range(10)])
    assert rig.end().elapsed_ns == served_ms * NS_PER_MS


def test_frames_acknowledged_late_take_a_pause_back() -> None:
    rig = MeterRig(tariff(900))
    rig.start()
    rig.wait(100_000)
    rig.ack(104_000, sent_ms=102_900)
    rig.ack(105_000)
    assert rig.end().elapsed_ns == 105_000 * NS_PER_MS


def test_a_silence_beyond_the_reconnect_window_ends_it() -> None:
    rig = MeterRig(tariff(900))
    rig.start()
    rig.wait(100_000)
    rig.wait(130_000, acks_every_ms=None)
    assert rig.ended is None
    rig.wait(131_000, acks_every_ms=None)
    assert rig.ended == s.Silent(rig.ns(130_000) + 1)
    assert rig.end().elapsed_ns == 100_000 * NS_PER_MS


def test_a_block_is_not_captured_before_its_service_is_confirmed() -> None:
    rig = MeterRig(tariff(900), wallet=90_000)
    rig.start()
    rig.wait(899_000)
    rig.ack(900_000)
    rig.wait(902_900, acks_every_ms=None)
    assert rig.captured == 90_000
    rig.wait(905_000, acks_every_ms=None)
    assert rig.end().total_minor == 90_000  # a pause since 900.000


def test_the_money_does_not_run_out_during_a_pause() -> None:
    rig = MeterRig(tariff(1), prepaid=2_000, wallet=0, ordinal=2)
    rig.start()
    rig.wait(10_000)
    rig.wait(35_000, acks_every_ms=None)
    assert rig.ended is None
    rig.ack(35_000)
    rig.wait(60_000)
    assert rig.ended == s.Exhausted(rig.ns(45_000))


def test_the_watchdog_is_told_where_the_money_ends() -> None:
    rig = MeterRig(tariff(1), prepaid=2_000, wallet=1_000, ordinal=2)
    rig.start()
    cutoffs = [effect.at_ns for _, effect in rig.of(s.CutoffMoved)]  # type: ignore[union-attr]
    assert cutoffs == [rig.ns(20_000)]
    rig.wait(8_000)
    rig.wait(12_000, acks_every_ms=None)  # paused since 8 s with 22 s of 30 s left
    cutoffs = [effect.at_ns for _, effect in rig.of(s.CutoffMoved)]  # type: ignore[union-attr]
    assert cutoffs == [rig.ns(20_000), rig.ns(30_000), rig.ns(8_000 + 30_000 + 22_000)]
    rig.ack(12_000)
    assert rig.of(s.CutoffMoved)[-1] == (12_000, s.CutoffMoved(rig.ns(34_000)))


def test_C10_text_time_runs_from_its_message_and_stops_while_someone_is_away() -> None:
    rig = MeterRig(tariff(60, grace_seconds=0), text=True, wallet=90_000)
    rig.start()
    rig.wait(0, acks_every_ms=None)
    assert rig.captured == 0
    rig.wait(1, acks_every_ms=None)
    assert rig.captured == 6_000
    rig.wait(30_000, acks_every_ms=None)
    rig.feed(s.Connection(up=False))
    rig.wait(50_000, acks_every_ms=None)
    rig.feed(s.Connection(up=True))
    assert [type(effect) for _, effect in rig.log[-2:]] == [s.Resumed, s.CutoffMoved]
    rig.wait(80_000, acks_every_ms=None)
    assert rig.captured == 6_000
    rig.wait(80_001, acks_every_ms=None)
    assert rig.captured == 12_000
    assert rig.end().elapsed_ns == 60_001 * NS_PER_MS


def test_low_balance_is_told_once_per_crossing_and_again_after_a_topup() -> None:
    rig = MeterRig(tariff(60), prepaid=18_000, wallet=6_000, ordinal=2)
    rig.start()  # 240 s in all
    rig.wait(215_000)
    warned = [(at, w.left_ns, w.shortfall_minor) for at, w in rig.of(s.LowBalance)]  # type: ignore[union-attr]
    assert warned == [(120_000, 120 * NS_PER_S, 6_000), (210_000, 30 * NS_PER_S, 6_000)]
    rig.topup(6_000)  # 300 s in all
    rig.wait(1_000_000)
    assert [at for at, _ in rig.of(s.LowBalance)] == [120_000, 210_000, 270_000]
    assert rig.ended == s.Exhausted(rig.ns(300_000))


def test_a_session_shorter_than_every_warning_is_told_once_at_its_start() -> None:
    rig = MeterRig(tariff(1), prepaid=2_000, wallet=50, ordinal=2)
    rig.start()
    rig.wait(30_000)
    assert [at for at, _ in rig.of(s.LowBalance)] == [0]
    assert rig.of(s.LowBalance)[0][1] == s.LowBalance(20 * NS_PER_S, 50)


@pytest.mark.parametrize(("block_s", "captured"), [(900, 180_000), (60, 102_000), (1, 0)])
def test_override_5_a_fault_returns_the_unserved_part_of_the_last_block(
    block_s: int, captured: int
) -> None:
    rig = MeterRig(tariff(block_s), wallet=200_000)
    rig.start()
    rig.wait(1_000_500)
    if captured:
        assert rig.captured == captured
    settlement = rig.end(fault=True)
    assert settlement.total_minor == rig.captured == 100_050
    assert rig.fees == settlement.fee_minor == 100_050 * 1_500 // 10_000


def test_a_void_session_is_void_even_by_a_fault() -> None:
    rig = MeterRig(tariff(900))
    rig.start()
    assert rig.end(60_000, fault=True).void
    assert rig.captured == 0


def test_events_that_come_late_find_what_was_due_done_at_its_instant() -> None:
    rig = MeterRig(tariff(60, grace_seconds=0), text=True, prepaid=12_000, wallet=90_000)
    rig.start()
    rig.now_ms = 10_000_000  # no timer has fired since, so no hold could be placed
    rig.feed(s.Wallet(0))
    assert rig.ended == s.Exhausted(rig.ns(120_000))
    assert rig.captured == 12_000


def test_a_tariff_that_is_nearly_free_buys_no_more_than_a_month_ahead() -> None:
    cheap = Tariff(
        currency="EUR",
        price_minor=1,
        per_seconds=86_400,
        block_seconds=1,
        prepaid_seconds=900,
        grace_seconds=0,
    )
    rig = MeterRig(cheap, prepaid=10**9)
    rig.start()
    assert rig.meter.paid_ns <= 31 * 86_400 * NS_PER_S
    assert rig.end(10_000).total_minor == 0


def test_a_session_of_one_block_and_all_sharers_gets_its_block() -> None:
    policy = Policy(commission_bps=0, hold_slice_seconds=30)
    rig = MeterRig(tariff(1), prepaid=0, wallet=100, ordinal=2, policy=policy)
    rig.start()
    rig.wait(5_000)
    assert rig.ended == s.Exhausted(rig.ns(1_000))
    assert rig.end().total_minor == 100


def test_the_time_left_counts_a_fair_share_of_a_shared_wallet() -> None:
    rig = MeterRig(tariff(60), prepaid=6_000, wallet=60_000, ordinal=2)
    rig.start()
    assert rig.meter.left_ns(rig.ns(0)) == 660 * NS_PER_S
    rig.feed(s.Wallet(60_000, sharers=2))
    assert rig.meter.left_ns(rig.ns(0)) == 360 * NS_PER_S
