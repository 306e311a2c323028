"""Single nanoseconds and single units of money: where an off-by-one would hide."""

from __future__ import annotations

from engine.metering.funds import Fund, Funds
from engine.metering.policy import PAUSE_AFTER_NS, PAUSE_AFTER_REPORTS_ONLY_NS
from engine.metering.stopwatch import MediaWatch, TextWatch


def test_a_gap_of_a_nanosecond_is_service() -> None:
    watch = MediaWatch(1_000)
    watch.acked(1_001)
    assert watch.confirmed_ns(1_001) == 1
    watch.acked(1_001)
    assert watch.confirmed_ns(1_001) == 1


def test_a_standing_watch_runs_on_from_the_next_frame_and_not_before() -> None:
    watch = MediaWatch(1_000, base_ns=500, standing=True)
    assert watch.paused(1_001)
    assert watch.elapsed_ns(9_000) == watch.confirmed_ns(9_000) == 500
    watch.acked(5_000)
    assert not watch.paused(5_000)
    assert watch.last_service_ns(5_000) == 5_000
    assert watch.confirmed_ns(5_000) == 500
    watch.acked(5_300)
    assert watch.confirmed_ns(5_300) == 800


def test_a_standing_watch_does_not_run_from_a_frame_before_it_stood() -> None:
    watch = MediaWatch(1_000, base_ns=500, standing=True)
    watch.acked(400)
    assert watch.last_service_ns(1_000) == 1_000
    assert watch.elapsed_ns(1_200) == 700


def test_only_a_standing_watch_waits_anew() -> None:
    standing, running = MediaWatch(1_000, standing=True), MediaWatch(1_000)
    for watch in (standing, running):
        watch.wait_anew(4_000)
    assert standing.pause_at_ns() == 4_000 + PAUSE_AFTER_NS
    assert running.pause_at_ns() == 1_000 + PAUSE_AFTER_NS
    standing.wait_anew(3_000)
    assert standing.last_service_ns(4_000) == 4_000


def test_a_text_watch_that_stops_at_once_served_nothing() -> None:
    watch = TextWatch(1_000, running=True)
    watch.stop(1_000)
    assert watch.elapsed_ns(2_000) == 0
    watch.run(3_000)
    watch.stop(2_500)
    assert watch.elapsed_ns(9_000) == 0
    assert watch.last_service_ns(9_000) == 3_000


def test_a_fund_of_one_unit_is_money() -> None:
    funds = Funds([Fund("crumb", 1), Fund("empty", 0)])
    assert funds.total_minor == 1
    assert [part.hold_id for part in funds.take(1)] == ["crumb"]


def test_a_gap_is_service_by_the_patience_of_its_connection() -> None:
    for gap_ns, served_ns in ((7_500_000_000, 7_500_000_000), (8_000_000_000, 0)):
        watch = MediaWatch(1_000, pause_after_ns=PAUSE_AFTER_REPORTS_ONLY_NS)
        assert watch.pause_at_ns() == 8_000_001_000
        assert not watch.paused(1_000 + gap_ns - 1)
        watch.acked(1_000 + gap_ns, PAUSE_AFTER_REPORTS_ONLY_NS)
        assert watch.confirmed_ns(1_000 + gap_ns) == served_ns


def test_a_gap_between_two_connections_is_judged_by_the_patience_of_the_former() -> None:
    both = (PAUSE_AFTER_NS, PAUSE_AFTER_REPORTS_ONLY_NS)
    for former_ns, next_ns in (both, both[::-1]):
        watch = MediaWatch(1_000, pause_after_ns=former_ns)
        was_paused = watch.paused(1_000 + PAUSE_AFTER_NS)
        watch.acked(1_000 + PAUSE_AFTER_NS, next_ns)
        assert watch.confirmed_ns(1_000 + PAUSE_AFTER_NS) == (0 if was_paused else PAUSE_AFTER_NS)
        assert watch.pause_at_ns() == 1_000 + PAUSE_AFTER_NS + next_ns


def test_old_news_say_nothing_about_patience_and_a_standing_watch_takes_it_over() -> None:
    watch = MediaWatch(1_000)
    watch.acked(999, PAUSE_AFTER_REPORTS_ONLY_NS)
    assert watch.pause_at_ns() == 1_000 + PAUSE_AFTER_NS
    watch = MediaWatch(1_000, standing=True)
    watch.acked(2_000, PAUSE_AFTER_REPORTS_ONLY_NS)
    assert watch.pause_at_ns() == 2_000 + PAUSE_AFTER_REPORTS_ONLY_NS


def test_the_same_frame_told_again_serves_nothing_and_may_ask_for_more_patience() -> None:
    watch = MediaWatch(1_000)
    watch.acked(1_500)
    watch.acked(1_500, PAUSE_AFTER_REPORTS_ONLY_NS)
    assert watch.confirmed_ns(1_500) == 500
    assert watch.pause_at_ns() == 1_500 + PAUSE_AFTER_REPORTS_ONLY_NS
