"""The bad line on virtual time: what it loses, how it delays, and that it does so again."""

from __future__ import annotations

import itertools

import pytest

from tests.support.impair import NS_PER_MS, Burst, Impairment, Line

COUNT = 20_000
SIZE = 1_200


def carried(impairment: Impairment, *, seed: int = 1, every_ms: float = 1.0) -> list[int | None]:
    """What becomes of evenly spaced datagrams: instants of leaving, None for the lost ones."""
    line = Line(impairment, seed)
    return [line.carry(SIZE, round(i * every_ms * NS_PER_MS)) for i in range(COUNT)]


def delays_ms(impairment: Impairment, every_ms: float = 1.0) -> list[float]:
    out = carried(impairment, every_ms=every_ms)
    return [at / NS_PER_MS - i * every_ms for i, at in enumerate(out) if at is not None]


def test_a_good_line_delivers_everything_at_once() -> None:
    assert set(delays_ms(Impairment())) == {0.0}


@pytest.mark.parametrize("share", [0.02, 0.05, 0.1])
def test_loss_is_the_share_asked_for(share: float) -> None:
    lost = carried(Impairment(loss=share)).count(None)
    assert lost == pytest.approx(share * COUNT, rel=0.1)


def test_the_same_seed_does_the_same_again_and_another_does_not() -> None:
    bad = Impairment(
        loss=0.05, burst=Burst(enter=0.01, leave=0.3), jitter_ms=20, reorder=0.1, rate_kbps=9_000
    )
    assert carried(bad, seed=7) == carried(bad, seed=7)
    assert carried(bad, seed=7) != carried(bad, seed=8)


def test_one_effect_does_not_disturb_another() -> None:
    alone = carried(Impairment(loss=0.05))
    together = carried(
        Impairment(loss=0.05, delay_ms=30, jitter_ms=9, reorder=0.2, rate_kbps=99_000)
    )
    assert [at is None for at in alone] == [at is None for at in together]


def test_bursts_are_as_long_and_as_frequent_as_asked_for() -> None:
    out = carried(Impairment(burst=Burst(enter=0.01, leave=0.25)))
    runs = [len(list(run)) for lost, run in itertools.groupby(at is None for at in out) if lost]
    assert sum(runs) / len(runs) == pytest.approx(4.0, rel=0.2)
    # The share of time in bursts: enter / (enter + leave).
    assert sum(runs) / COUNT == pytest.approx(0.01 / 0.26, rel=0.25)


def test_some_survive_a_burst_that_does_not_lose_everything() -> None:
    whole = carried(Impairment(burst=Burst(enter=0.02, leave=0.2))).count(None)
    half = carried(Impairment(burst=Burst(enter=0.02, leave=0.2, loss=0.5))).count(None)
    assert half == pytest.approx(whole / 2, rel=0.15)


def test_delay_is_constant_and_jitter_keeps_the_order() -> None:
    assert set(delays_ms(Impairment(delay_ms=40))) == {40.0}
    delays = delays_ms(Impairment(delay_ms=40, jitter_ms=10))
    assert min(delays) >= 40
    assert max(delays) <= 50
    assert max(delays) - min(delays) > 5
    out = carried(Impairment(delay_ms=40, jitter_ms=10))
    assert out == sorted(at for at in out if at is not None)


def test_the_share_to_be_reordered_is_overtaken() -> None:
    out = [at for at in carried(Impairment(reorder=0.1, reorder_ms=5)) if at is not None]
    overtaken = sum(at > later for at, later in itertools.pairwise(out))
    assert overtaken == pytest.approx(0.1 * COUNT, rel=0.2)
    assert set(delays_ms(Impairment(reorder=0.1, reorder_ms=5))) == {0.0, 5.0}


def test_the_bottleneck_sends_at_its_rate_and_drops_what_its_queue_cannot_hold() -> None:
    line = Line(Impairment(rate_kbps=960, queue_bytes=12_000))
    out = [line.carry(SIZE, 0) for _ in range(30)]
    # 1,200 bytes at 960 kbit/s take 10 ms; ten of them fill the queue.
    assert out[:10] == [10 * NS_PER_MS * (n + 1) for n in range(10)]
    assert out[10:] == [None] * 20
    assert line.overflowed == 20
    assert line.carry(SIZE, 15 * NS_PER_MS) == 110 * NS_PER_MS, "room for one more"
    assert line.carry(SIZE, 15 * NS_PER_MS) is None
    assert line.carry(SIZE, 500 * NS_PER_MS) == 510 * NS_PER_MS, "idle again"


def test_what_the_bottleneck_drops_is_not_counted_as_loss() -> None:
    line = Line(Impairment(rate_kbps=960, queue_bytes=1_200, loss=1.0))
    assert [line.carry(SIZE, 0) for _ in range(3)] == [None] * 3
    assert (line.passed, line.lost, line.overflowed) == (0, 1, 2)
