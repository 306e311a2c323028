"""RTCP: what is built is read back, and transport-wide feedback is understood in all its forms."""

from __future__ import annotations

import struct

from aiortc.rtp import RtcpPacket, RtcpRrPacket, RtcpRtpfbPacket, RtcpSrPacket

from engine.media import limits, rtcp
from tests.support import media_packets as packets


def test_built_reports_are_what_aiortc_reads() -> None:
    block = rtcp.ReportBlock(7, 12, -3, 70000, 5, 99, 100)
    (parsed,) = RtcpPacket.parse(rtcp.build_rr(1, [block]))
    assert isinstance(parsed, RtcpRrPacket)
    report = parsed.reports[0]
    assert (report.ssrc, report.fraction_lost, report.packets_lost) == (7, 12, -3)
    assert (report.highest_sequence, report.jitter, report.lsr, report.dlsr) == (70000, 5, 99, 100)


def test_sender_report_with_description_is_a_valid_compound() -> None:
    info = rtcp.SenderInfo(5, 1 << 40, 1234, 10, 2000)
    sr, sdes = RtcpPacket.parse(rtcp.build_sr(info) + rtcp.build_sdes(5, "talktime"))
    assert isinstance(sr, RtcpSrPacket)
    assert sr.sender_info.ntp_timestamp == 1 << 40
    assert sr.sender_info.packet_count == 10
    assert sdes.chunks[0].items == [(1, b"talktime")]


def test_nack_packs_neighbours_and_reads_back() -> None:
    wanted = [65534, 65535, 0, 14, 15, 400]
    block = rtcp.build_nack(1, 2, wanted)
    assert rtcp.nack_sequences(block) == wanted
    (parsed,) = RtcpPacket.parse(block)
    assert isinstance(parsed, RtcpRtpfbPacket)
    # aiortc does not wrap the numbers that follow 65535.
    assert [lost & 0xFFFF for lost in parsed.lost] == wanted
    assert len(block) == 12 + 3 * 4


def test_nack_is_bounded() -> None:
    block = struct.pack("!BBHII", 0x81, 205, 302, 1, 2) + b"\x00\x01\xff\xff" * 300
    assert len(rtcp.nack_sequences(block)) == limits.MAX_NACK_SEQUENCES


def test_report_blocks_are_those_really_there() -> None:
    block = rtcp.build_rr(1, [rtcp.ReportBlock(7, 0, 0, 1, 2, 3, 4)])
    assert len(rtcp.report_blocks(rtcp.RR, 31, block)) == 1
    assert rtcp.report_blocks(rtcp.RR, 3, block[:8]) == []


def test_compound_is_split_and_a_lying_length_ends_it() -> None:
    compound = rtcp.build_pli(1, 2) + rtcp.build_nack(1, 2, [3])
    kinds = [(kind, count) for kind, count, _ in rtcp.split(compound)]
    assert kinds == [(rtcp.PSFB, rtcp.PLI), (rtcp.RTPFB, rtcp.NACK)]
    assert len(list(rtcp.split(compound[:-1]))) == 1
    assert list(rtcp.split(b"\x00" * 40)) == []


def test_many_blocks_are_bounded() -> None:
    compound = rtcp.build_pli(1, 2) * 100
    assert len(list(rtcp.split(compound))) == limits.MAX_RTCP_BLOCKS


def test_one_bit_vectors_name_the_received() -> None:
    got = [True, False, True] * 10
    block = packets.transport_feedback(65530, got)
    assert rtcp.transport_received(block) == [
        (65530 + i) & 0xFFFF for i, yes in enumerate(got) if yes
    ]


def test_runs_and_two_bit_vectors_name_the_received() -> None:
    run = 0x2000 | 5  # five received, small deltas
    lost = 2  # two not received
    vector = 0xC000 | 0b01_00_10_11_00_00_01
    body = struct.pack("!HHIHHH", 100, 14, 0, run, lost, vector)
    block = struct.pack("!BBHII", 0x8F, 205, 5, 1, 2) + body + bytes(2)
    assert rtcp.transport_received(block) == [100, 101, 102, 103, 104, 107, 109, 113]


def test_hostile_counts_are_bounded() -> None:
    body = struct.pack("!HHI", 0, 65535, 0) + b"\x3f\xff" * 600
    block = struct.pack("!BBHII", 0x8F, 205, 400, 1, 2) + body
    assert len(rtcp.transport_received(block)) == limits.ACK_WINDOW_PACKETS


def test_full_intra_request_names_its_streams() -> None:
    block = struct.pack("!BBHIIIIII", 0x84, 206, 6, 1, 0, 55, 0, 66, 0)
    assert rtcp.fir_ssrcs(block) == [55, 66]


def test_passed_on_feedback_changes_in_its_two_ssrcs_only() -> None:
    block = packets.transport_feedback(5, [True] * 20, sender=1, media=2)
    moved = rtcp.with_ssrcs(block, 3, 4)
    assert rtcp.media_ssrc(moved) == 4
    assert moved[:4] == block[:4]
    assert moved[12:] == block[12:]
