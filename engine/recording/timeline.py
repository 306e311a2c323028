"""Where the frames of a call stand on the time line of its recording. Pure.

A stream begins where its first frame came, and goes on by its own timestamps, which know nothing of
the network's jitter. Once the sender reports of a party's sound and picture (RFC 3550 section
6.4.1) name both on one clock, the picture moves to where its sound is. It is the picture that
moves: a frame too early or late is not seen, a gap in a sound is heard.
"""

from __future__ import annotations

from typing import Final

from engine.clock import NS_PER_S
from engine.media.interface import MediaKind
from engine.recording.depacketize import Frame, Report

# Further from when it came, a frame is not where its timestamp or the reports say: a device that
# was off may go on where it stopped, and a clock may be set.
MAX_SKEW_NS: Final = 1 * NS_PER_S

_MASK64 = (1 << 64) - 1


class Timeline:
    """One stream. `sound` is the time line of the same party's sound, for a picture."""

    def __init__(self, kind: MediaKind, sound: Timeline | None = None) -> None:
        self._rate_hz = 48_000 if kind is MediaKind.AUDIO else 90_000
        self._sound = sound
        self._ssrc = -1
        self._offset_ns = 0
        self._report: Report | None = None

    def report(self, report: Report) -> None:
        self._report = report

    def place(self, frame: Frame, came_ns: int) -> int:
        """The instant of a frame, in ns since the recording began; it came at `came_ns`.

        May be before that of an earlier frame, and before the beginning.
        """
        own_ns = self._ns(frame.timestamp)
        if frame.ssrc != self._ssrc:
            self._ssrc, self._offset_ns = frame.ssrc, came_ns - own_ns
        offset_ns = self._beside_sound()
        if offset_ns is not None and abs(came_ns - own_ns - offset_ns) <= MAX_SKEW_NS:
            self._offset_ns = offset_ns
        if abs(came_ns - own_ns - self._offset_ns) > MAX_SKEW_NS:
            # The timestamps jumped, so the report on them is of no use any more.
            self._offset_ns, self._report = came_ns - own_ns, None
        return own_ns + self._offset_ns

    def _beside_sound(self) -> int | None:
        """What brings this stream's timestamps to the time line at which its sound is."""
        sound = self._sound
        mine, theirs = self._valid(), sound._valid() if sound is not None else None
        if sound is None or mine is None or theirs is None:
            return None
        ahead = (mine.ntp - theirs.ntp + (1 << 63) & _MASK64) - (1 << 63)
        sampled_ns = sound._ns(theirs.timestamp) + sound._offset_ns + (ahead * NS_PER_S >> 32)
        return sampled_ns - self._ns(mine.timestamp)

    def _valid(self) -> Report | None:
        report = self._report
        return report if report is not None and report.ssrc == self._ssrc else None

    def _ns(self, timestamp: int) -> int:
        return timestamp * NS_PER_S // self._rate_hz
