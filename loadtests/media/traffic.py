"""What is sent: a fixed rate, as much as comes back, or calls; each as a `Plan` over a `Rig`."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator
from typing import Final

import msgspec

from engine.clock import NS_PER_S
from engine.media import rtcp
from engine.media.path import CNAME
from loadtests.media.plan import Plan
from loadtests.media.rig import DELTA, KEY, MIDDLE, Flow, Rig

PACKET_BYTES: Final = 1200
AUDIO_BYTES: Final = 116  # 32 kbit/s of Opus in 20 ms packets, with headers and tag
FRAME_PACKETS: Final = 5
# After much loss at once the server waits for the next key frame.
KEY_EVERY_FRAMES: Final = 100
# Browsers report on video once a second and check consent every two and a half.
REPORT_NS: Final = NS_PER_S
CHECK_NS: Final = 5 * NS_PER_S // 2
# What one direction of a call is: 1.5 Mbit/s of video in frames of 5 or 6 packets, and Opus.
FRAMES_PER_S: Final = 30
VIDEO_PER_S: Final = 156
AUDIO_PER_S: Final = 50
# Browsers send transport-wide feedback every 50 to 250 ms.
FEEDBACK_EVERY_PACKETS: Final = 16


def steady(rig: Rig, rate_pps: int, seconds: float) -> Plan:
    """`rate_pps` video packets a second in all, a frame at a time from every sending leg in turn.

    A frame's packets leave together, as a browser's do.
    """
    frames = int(rate_pps * seconds) // FRAME_PACKETS
    every = max(1, rate_pps * REPORT_NS // NS_PER_S // len(rig.video))
    plan = _in_turn(rig, frames, NS_PER_S * FRAME_PACKETS / rate_pps, every)
    _checks(plan, rig, int(seconds * NS_PER_S))
    return plan


def backlogged(rig: Rig, count: int) -> Plan:
    """`count` video packets, all due at once: the generator's backlog sets the pace."""
    return _in_turn(rig, count // FRAME_PACKETS, 0.0, max(1, count // len(rig.video) // 8))


def _in_turn(rig: Rig, frames: int, interval_ns: float, report_every: int) -> Plan:
    plan = Plan()
    flows = [(flow, _stream(plan, flow)) for flow in rig.video]
    for index in range(frames):
        flow, stream = flows[index % len(flows)]
        for datagram, out_sequence in _frame(flow, index // len(flows)):
            number = plan.packet(round(index * interval_ns), flow.sender, stream, datagram)
            if rig.acks and number % report_every == report_every - 1:
                plan.ack(stream, number, rig.report(flow, out_sequence))
    return plan


def _frame(flow: Flow, index: int) -> Iterator[tuple[bytes, int]]:
    """The packets of one frame, each with the number under which it will come back."""
    flow.timestamp += 3000
    for packet in range(FRAME_PACKETS):
        start = MIDDLE if packet else DELTA if index % KEY_EVERY_FRAMES else KEY
        out_sequence = flow.out_sequence
        yield flow.packet(PACKET_BYTES, start, marker=packet == FRAME_PACKETS - 1), out_sequence


def _stream(plan: Plan, flow: Flow) -> int:
    return plan.stream(viewer=flow.viewer, ssrc=flow.out_ssrc, sequence=flow.out_sequence)


def _checks(plan: Plan, rig: Rig, until_ns: int) -> None:
    for leg in range(len(rig.peers)):
        first_ns = leg * CHECK_NS // len(rig.peers)
        for due_ns in range(first_ns, until_ns, CHECK_NS):
            if check := rig.check(leg):
                plan.control(due_ns, leg, check)


class _Due(msgspec.Struct, frozen=True, order=True):
    """One frame or one audio packet of a direction; ordered by its instant."""

    due_ns: int
    direction: int
    index: int
    video: bool


def calls(rig: Rig, seconds: float) -> Plan:
    """Every direction of the rig carries a call's video and audio, with its RTCP both ways."""
    plan = Plan()
    directions = [_Direction(plan, rig, index) for index in range(len(rig.video))]
    for due in sorted(_calendar(len(directions), seconds)):
        if due.video:
            directions[due.direction].frame(due.due_ns, due.index)
        else:
            directions[due.direction].audio(due.due_ns)
    _checks(plan, rig, int(seconds * NS_PER_S))
    return plan


def _calendar(directions: int, seconds: float) -> Iterator[_Due]:
    """Frames and audio of all directions, spread evenly so that they do not come in one burst."""
    for direction, video in itertools.product(range(directions), (True, False)):
        per_s = FRAMES_PER_S if video else AUDIO_PER_S
        interval_ns = NS_PER_S // per_s
        phase_ns = direction * interval_ns // directions
        for index in range(int(seconds * per_s)):
            yield _Due(phase_ns + index * interval_ns, direction, index, video)


class _Direction:
    """One party's media on its way to the other, and the other's acknowledgements."""

    def __init__(self, plan: Plan, rig: Rig, index: int) -> None:
        self._plan, self._rig = plan, rig
        self._video, self._audio = rig.video[index], rig.audio[index]
        self._video_stream = _stream(plan, self._video)
        self._audio_stream = _stream(plan, self._audio)
        self._transport = 0
        self._acked = 0

    def frame(self, due_ns: int, index: int) -> None:
        """The packets of frame number `index`; they leave together."""
        count = 6 if index % 5 == 4 else 5
        self._video.timestamp += 90_000 // FRAMES_PER_S
        if index % FRAMES_PER_S == 0:
            self._sender_report(due_ns, self._video)
        for packet in range(count):
            start = MIDDLE if packet else KEY if index == 0 else DELTA
            self._send(due_ns, self._video, start, PACKET_BYTES, marker=packet == count - 1)

    def audio(self, due_ns: int) -> None:
        self._audio.timestamp += 960
        self._send(due_ns, self._audio, b"\xfc", AUDIO_BYTES, marker=False)

    def _send(self, due_ns: int, flow: Flow, start: bytes, size: int, *, marker: bool) -> None:
        video = flow is self._video
        stream = self._video_stream if video else self._audio_stream
        out_sequence = flow.out_sequence
        datagram = flow.packet(size, start, marker=marker, transport=self._transport)
        self._transport += 1
        number = self._plan.packet(due_ns, flow.sender, stream, datagram)
        if not video or not self._rig.acks:
            return
        if number % FEEDBACK_EVERY_PACKETS == FEEDBACK_EVERY_PACKETS - 1:
            self._plan.ack(stream, number, self._feedback())
        if number % VIDEO_PER_S == VIDEO_PER_S - 1:
            self._plan.ack(stream, number, self._rig.report(flow, out_sequence))

    def _feedback(self) -> bytes:
        count, base = self._transport - self._acked, self._acked
        self._acked = self._transport
        block = transport_feedback(base, count, sender=1, media=self._video.out_ssrc)
        return bytes(self._rig.peers[self._video.viewer].tx.protect_rtcp(block))

    def _sender_report(self, due_ns: int, flow: Flow) -> None:
        ntp = (due_ns << 32) // NS_PER_S
        info = rtcp.SenderInfo(flow.ssrc, ntp, flow.timestamp, flow.packets, flow.octets)
        block = rtcp.build_sr(info) + rtcp.build_sdes(flow.ssrc, CNAME)
        protected = self._rig.peers[flow.sender].tx.protect_rtcp(block)
        self._plan.control(due_ns, flow.sender, bytes(protected))


def transport_feedback(base: int, count: int, *, sender: int, media: int) -> bytes:
    """Feedback that `count` packets from `base` on arrived, 1 ms apart.

    draft-holmer-rmcat-transport-wide-cc-extensions-01 section 3.1: one run of small deltas.
    """
    body = struct.pack("!HHIH", base & 0xFFFF, count, 0, 1 << 13 | count) + b"\x04" * count
    body += bytes(-len(body) % 4)
    head = struct.pack(
        "!BBHII", 0x80 | rtcp.TRANSPORT_CC, rtcp.RTPFB, 2 + len(body) // 4, sender, media
    )
    return head + body
