"""What a peer's RTCP leads to: which blocks end here, which go on to the other side.

Ends here (hop by hop): receiver reports, NACK, PLI and FIR, BYE, SDES, everything unknown. Goes
on, under the other path's SSRCs: transport-wide feedback, for the publisher's congestion control
sees the whole path; and sender reports, for lip sync. A publisher whose media is not forwarded is
invisible: neither kind of block passes without a route between the two streams.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.media import rtcp
from engine.media.interface import MediaKind
from engine.media.transport_feedback import fill_in

if TYPE_CHECKING:
    from engine.media.path import PythonPath


def handle(path: PythonPath, compound: bytes, now_ns: int) -> None:
    """Act on an authenticated, decrypted compound of `path`. Never raises on any content."""
    for kind, count, block in rtcp.split(compound):
        if kind in (rtcp.SR, rtcp.RR):
            if kind == rtcp.SR:
                _sender_report(path, block, now_ns)
            for report in rtcp.report_blocks(kind, count, block):
                _receiver_report(path, report, now_ns)
        elif kind == rtcp.RTPFB and count == rtcp.TRANSPORT_CC:
            _transport_feedback(path, block, now_ns)
        elif kind == rtcp.RTPFB and count == rtcp.NACK:
            _nack(path, block, now_ns)
        elif kind == rtcp.PSFB and count in (rtcp.PLI, rtcp.FIR):
            _keyframe_request(path, count, block, now_ns)


def _sender_report(path: PythonPath, block: bytes, now_ns: int) -> None:
    info = rtcp.sender_info(block)
    track = path.tracks.get(info.ssrc) if info is not None else None
    if info is None or track is None:
        return
    track.reception.sender_report(info.ntp, now_ns)
    path.relay_sender_report(track, info, now_ns)


def _receiver_report(path: PythonPath, report: rtcp.ReportBlock, now_ns: int) -> None:
    track = path.out_by_ssrc.get(report.ssrc)
    if track is not None:
        path.receiver_reported(track, report, now_ns)


def _transport_feedback(path: PythonPath, block: bytes, now_ns: int) -> None:
    publisher = path.sent_publisher()
    if publisher is not None:
        track = path.out_by_ssrc.get(rtcp.media_ssrc(block)) or next(iter(path.out.values()))
        source = publisher.sources.get(track.kind) or next(iter(publisher.sources.values()), None)
        if source is not None:
            passed = rtcp.with_ssrcs(block, publisher.report_ssrc, source.ssrc)
            if publisher.withheld.any:
                passed = fill_in(passed, publisher.withheld)
            publisher.send_rtcp(passed)
    path.transport_acked(block, now_ns)


def _nack(path: PythonPath, block: bytes, now_ns: int) -> None:
    track = path.out_by_ssrc.get(rtcp.media_ssrc(block))
    if track is not None:
        path.counters["nacks_received"] += 1
        track.resend(rtcp.nack_sequences(block), now_ns)


def _keyframe_request(path: PythonPath, count: int, block: bytes, now_ns: int) -> None:
    ssrcs = rtcp.fir_ssrcs(block) if count == rtcp.FIR else [rtcp.media_ssrc(block)]
    for ssrc in ssrcs:
        track = path.out_by_ssrc.get(ssrc)
        if track is not None and track.kind is MediaKind.VIDEO and track.source is not None:
            track.request_keyframe(now_ns)
            return
