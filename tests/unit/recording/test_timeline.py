"""Where frames stand: by their own timestamps, beside their sound, near to when they came."""

from __future__ import annotations

import pytest

from engine.clock import NS_PER_MS, NS_PER_S
from engine.media.interface import MediaKind
from engine.recording.depacketize import Frame, Report
from engine.recording.timeline import Timeline

SOUND_HZ, PICTURE_HZ = 48_000, 90_000
NTP = 7 << 32


def at(ms: float, hz: int, *, ssrc: int = 1) -> Frame:
    """A frame sampled then."""
    return Frame("any", b"", round(ms * hz / 1000), True, ssrc)


def said(ms: float, hz: int, *, of_ms: float | None = None, ssrc: int = 1) -> Report:
    """A report: at `ms` of the sender's clock its stream was at `of_ms`."""
    sampled_ms = ms if of_ms is None else of_ms
    ntp = (NTP + round(ms * (1 << 32) / 1000)) & (1 << 64) - 1
    return Report(ssrc, ntp, round(sampled_ms * hz / 1000))


class Both:
    """A party's sound, 20 ms on its way, and its picture, 300 ms."""

    def __init__(self) -> None:
        self.sound = Timeline(MediaKind.AUDIO)
        self.picture = Timeline(MediaKind.VIDEO, self.sound)
        self.hear(0)
        self.see(0)

    def hear(self, ms: float) -> float:
        return self.sound.place(at(ms, SOUND_HZ), round((ms + 20) * NS_PER_MS)) / NS_PER_MS

    def see(self, ms: float) -> float:
        return self.picture.place(at(ms, PICTURE_HZ), round((ms + 300) * NS_PER_MS)) / NS_PER_MS


def test_jitter_moves_nothing() -> None:
    sound = Timeline(MediaKind.AUDIO)
    placed = [
        sound.place(at(20 * n, SOUND_HZ), (20 * n + n % 5 * 30) * NS_PER_MS) for n in range(9)
    ]
    assert placed == [20 * n * NS_PER_MS for n in range(9)]


def test_a_picture_moves_to_its_sound_once_both_have_reported() -> None:
    both = Both()
    assert both.see(100) == 400
    both.picture.report(said(150, PICTURE_HZ))
    assert both.see(200) == 500, "where it came, until then"
    both.sound.report(said(130, SOUND_HZ))
    assert both.see(300) == pytest.approx(320, abs=0.1)
    assert both.hear(300) == 320, "it is not the sound that moves"


def test_the_senders_clock_may_run_over() -> None:
    both = Both()
    wrapped = Report(1, (1 << 64) - (1 << 31), 0)  # half a second before
    both.sound.report(wrapped)
    both.picture.report(Report(1, 1 << 31, PICTURE_HZ))
    assert both.see(1000) == pytest.approx(1020, abs=0.1)


@pytest.mark.parametrize("off_ms", [-5_000, 5_000, 10**9])
def test_reports_that_cannot_be_are_not_believed(off_ms: int) -> None:
    both = Both()
    both.sound.report(said(130, SOUND_HZ))
    both.picture.report(said(150, PICTURE_HZ, of_ms=150 + off_ms))
    assert both.see(200) == 500


def test_reports_on_another_stream_say_nothing_of_this_one() -> None:
    both = Both()
    both.sound.report(said(130, SOUND_HZ))
    both.picture.report(said(150, PICTURE_HZ, ssrc=2))
    assert both.see(200) == 500


def test_a_sound_that_stood_still_is_reported_on_anew_before_a_picture_follows_it() -> None:
    both = Both()
    both.sound.report(said(100, SOUND_HZ))
    both.picture.report(said(100, PICTURE_HZ))
    assert both.see(200) == pytest.approx(220, abs=0.1)
    # The microphone was off for five seconds, and its timestamps with it.
    back = both.sound.place(at(220, SOUND_HZ), 5 * NS_PER_S)
    assert back == 5 * NS_PER_S
    assert both.see(5_000) == pytest.approx(5_020, abs=0.1), "it stays where it was"
    both.sound.report(said(5_000, SOUND_HZ, of_ms=240))
    assert both.see(5_100) == pytest.approx(5_120, abs=0.1)


def test_a_party_that_came_back_begins_anew() -> None:
    both = Both()
    both.sound.report(said(100, SOUND_HZ))
    both.picture.report(said(100, PICTURE_HZ))
    both.see(200)
    again = both.picture.place(at(77_000, PICTURE_HZ, ssrc=2), 900 * NS_PER_MS)
    assert again == 900 * NS_PER_MS
