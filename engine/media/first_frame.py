"""The frame that starts the clock (product/features.md, override 1).

Of all the frames sent to the customer, the first that is *complete* (every packet left),
*decodable* (a video frame that needs no other, or any audio frame) and *acknowledged* by the
customer's transport starts the meter, stamped with the instant its last packet left. Two kinds of
acknowledgement count:

* transport-wide feedback that names every packet of the frame, and
* a receiver report whose extended highest sequence number reaches the frame's last packet. A report
  says nothing of the packets in between; the retransmissions that mend those carry no
  transport-wide number, so without this a mended frame would never count.
"""

from __future__ import annotations

from engine.media import frames, limits
from engine.media.interface import MediaKind
from engine.media.rtp import sequence_distance

Found = tuple[MediaKind, int]


class _VideoFrame:
    """One decodable frame on its way out, until it is complete and acknowledged."""

    __slots__ = ("complete", "first", "keyed", "last", "sent_at_ns", "sequences", "unacked")

    def __init__(self, first: int) -> None:
        self.first = first
        self.last = -1
        self.keyed = False
        self.complete = False
        self.sent_at_ns = 0
        self.sequences: set[int] = set()
        # Transport-wide numbers not acknowledged yet; -1 stands for a packet without one.
        self.unacked: set[int] = set()

    @property
    def empty(self) -> bool:
        """Complete, but parameter sets only: nothing to show."""
        return self.complete and not self.keyed

    def add(self, sequence: int, marker: bool, flags: int, transport: int, now_ns: int) -> None:
        self.sequences.add(sequence)
        self.unacked.add(transport)
        self.keyed = self.keyed or bool(flags & frames.KEY)
        self.sent_at_ns = max(self.sent_at_ns, now_ns)
        if marker:
            self.last = sequence
        if self.last >= 0:
            self.complete = len(self.sequences) == ((self.last - self.first) & 0xFFFF) + 1


class FirstFrame:
    """Watches what leaves for one customer leg until its first frame is acknowledged. Pure."""

    def __init__(self) -> None:
        self._video: dict[int, _VideoFrame] = {}
        self._audio: dict[int, tuple[int, int]] = {}

    def audio_sent(self, sequence: int, transport: int, now_ns: int) -> None:
        """One non-empty audio packet left under `sequence` (and transport-wide number, or -1)."""
        if len(self._audio) >= limits.MAX_AUDIO_CANDIDATES:
            del self._audio[next(iter(self._audio))]
        self._audio[sequence] = (transport, now_ns)

    def video_sent(
        self,
        sequence: int,
        timestamp: int,
        marker: bool,
        *,
        flags: int,
        transport: int,
        now_ns: int,
    ) -> None:
        """One video packet left; `flags` are those of `frames.inspect`."""
        frame = self._video.get(timestamp)
        if frame is None:
            if not flags & frames.START:
                return
            self._make_room()
            frame = self._video[timestamp] = _VideoFrame(sequence)
        offset = (sequence - frame.first) & 0xFFFF
        if offset >= limits.MAX_FRAME_PACKETS or frame.complete:
            return
        frame.add(sequence, marker, flags, transport, now_ns)
        if frame.empty:
            del self._video[timestamp]

    def _make_room(self) -> None:
        while len(self._video) >= limits.MAX_FRAME_CANDIDATES:
            # The oldest complete frame is the one most likely to be acknowledged yet.
            unfinished = [t for t, f in self._video.items() if not f.complete]
            del self._video[unfinished[0] if unfinished else next(iter(self._video))]

    def transport_acked(self, numbers: list[int]) -> Found | None:
        """Transport-wide feedback named `numbers`; the frame it acknowledges, if any."""
        received = set(numbers)
        best: Found | None = None
        for transport, sent_at_ns in self._audio.values():
            if transport in received:
                best = _earlier(best, (MediaKind.AUDIO, sent_at_ns))
                break
        for frame in self._video.values():
            frame.unacked -= received
            if frame.complete and not frame.unacked:
                best = _earlier(best, (MediaKind.VIDEO, frame.sent_at_ns))
        return best

    def report_acked(self, kind: MediaKind, highest: int, lost: int) -> Found | None:
        """A receiver report on the stream of `kind` reached `highest` (16 bits), `lost` so far."""
        if kind is MediaKind.AUDIO:
            return self._audio_report(highest, lost)
        best: Found | None = None
        for frame in self._video.values():
            if frame.complete and sequence_distance(highest, frame.last) >= 0:
                best = _earlier(best, (MediaKind.VIDEO, frame.sent_at_ns))
        return best

    def _audio_report(self, highest: int, lost: int) -> Found | None:
        """Without loss the first frame arrived; with loss only the highest is certain."""
        for sequence, (_, sent_at_ns) in self._audio.items():
            ahead = sequence_distance(highest, sequence)
            if ahead == 0 or (ahead > 0 and lost <= 0):
                return MediaKind.AUDIO, sent_at_ns
        return None


def _earlier(best: Found | None, found: Found) -> Found:
    return found if best is None or found[1] < best[1] else best
