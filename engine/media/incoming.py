"""One incoming stream of one path: an SSRC, what it carries, and where it goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.media import rtcp
from engine.media.interface import MediaKind
from engine.media.reception import Reception

if TYPE_CHECKING:
    from engine.media.outgoing import OutgoingTrack
    from engine.media.path import PythonPath


class IncomingTrack:
    """`out` is where its packets go now, None for nowhere; only the session's routing sets it."""

    __slots__ = ("_path", "kind", "out", "reception", "repair", "ssrc")

    def __init__(self, path: PythonPath, ssrc: int, kind: MediaKind, *, repair: bool) -> None:
        self.ssrc = ssrc
        self.kind = kind
        self.repair = repair
        self.reception = Reception(ssrc, 48_000 if kind is MediaKind.AUDIO else 90_000)
        self.out: OutgoingTrack | None = None
        self._path = path

    def note_withheld(self, length: int) -> None:
        """The packet in the buffer, one of this stream's, is not forwarded."""
        self._path.note_withheld(length)

    def request(self, sequences: list[int]) -> None:
        """Ask the publisher to send these again."""
        self._path.counters["nacks_sent"] += 1
        self._path.send_rtcp(rtcp.build_nack(self._path.report_ssrc, self.ssrc, sequences))

    def request_keyframe(self) -> None:
        self._path.counters["keyframe_requests_sent"] += 1
        self._path.send_rtcp(rtcp.build_pli(self._path.report_ssrc, self.ssrc))
