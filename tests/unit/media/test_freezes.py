"""What counts as a freeze: the definition of webrtc-stats, and pauses that are none."""

from __future__ import annotations

import random

import pytest

from engine.clock import NS_PER_MS
from engine.media.freezes import FreezeMeter


class Picture:
    """Frames at a steady rhythm, and gaps."""

    def __init__(self, every_ms: int = 33, frames: int = 40) -> None:
        self.meter = FreezeMeter()
        self.now_ms = 1_000
        self.every_ms = every_ms
        self.play(frames)

    def play(self, frames: int) -> None:
        for _ in range(frames):
            self.after(self.every_ms)

    def after(self, gap_ms: int) -> None:
        self.now_ms += gap_ms
        self.meter.frame_end(self.now_ms * NS_PER_MS)

    @property
    def found(self) -> tuple[int, int]:
        return self.meter.count, self.meter.frozen_ns // NS_PER_MS


@pytest.mark.parametrize(
    ("every_ms", "longest_ms"),
    [(33, 183), (50, 200), (75, 225), (100, 300), (500, 1_500)],
    ids=["30/s", "20/s", "where both agree", "10/s", "2/s"],
)
def test_a_gap_is_a_freeze_beyond_three_means_and_150_ms_above_one(
    every_ms: int, longest_ms: int
) -> None:
    picture = Picture(every_ms)
    picture.after(longest_ms)
    assert picture.found == (0, 0)
    picture = Picture(every_ms)
    picture.after(longest_ms + 1)
    assert picture.found == (1, longest_ms + 1)


def test_every_freeze_counts_with_its_whole_length() -> None:
    picture = Picture()
    picture.after(500)
    picture.play(30)
    picture.after(2_000)
    picture.play(5)
    assert picture.found == (2, 2_500)


def test_the_rhythm_is_that_of_the_last_30_frames() -> None:
    picture = Picture(33)
    picture.every_ms = 300
    picture.play(31)
    before = picture.found
    picture.after(800)
    assert picture.found == before, "at 3 frames a second that is no freeze any more"


def test_few_frames_tell_nothing() -> None:
    picture = Picture(33, frames=5)
    picture.after(5_000)
    assert picture.found == (0, 0), "four distances are no rhythm"


def test_a_wished_pause_is_no_freeze_and_forgets_nothing_counted() -> None:
    picture = Picture()
    picture.after(400)
    picture.meter.reset()
    picture.after(60_000)
    assert picture.found == (1, 400)
    picture.play(10)
    picture.after(400)
    assert picture.found == (2, 800)


def test_the_moving_mean_is_that_of_a_plain_list() -> None:
    rng = random.Random(5)
    for _ in range(20):
        meter, now_ns, gaps, count, frozen_ns = FreezeMeter(), 0, [], 0, 0
        meter.frame_end(now_ns)
        for _ in range(300):
            gap_ns = rng.choice((20, 33, 40, 90, 200, 400, 900)) * NS_PER_MS + rng.randrange(1_000)
            window = gaps[-30:]
            if len(window) >= 5:
                mean_ns = sum(window) // len(window)
                if gap_ns > max(3 * mean_ns, mean_ns + 150 * NS_PER_MS):
                    count, frozen_ns = count + 1, frozen_ns + gap_ns
            gaps.append(gap_ns)
            now_ns += gap_ns
            meter.frame_end(now_ns)
        assert (meter.count, meter.frozen_ns) == (count, frozen_ns)
        assert count > 0
