"""Continuity, loss repair, keyframe requests and reception reports."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.clock import NS_PER_MS, NS_PER_S
from engine.media import limits, rewrite
from engine.media.keyframes import KeyframeRequests
from engine.media.reception import Reception
from engine.media.retransmit import MissingPackets, PacketRing
from engine.media.rewrite import Rewriter


def test_a_new_source_continues_the_numbers_of_the_old_one() -> None:
    rewriter = Rewriter(90_000, first_sequence=1000, first_timestamp=5000)
    rewriter.synchronise("a", 40, 100, 0)
    rewriter.advance(40, 100, 1 * NS_PER_S)
    assert rewriter.highest_out == 1000
    rewriter.advance(41, 3100, 2 * NS_PER_S)
    rewriter.synchronise("b", 60_000, 7, 3 * NS_PER_S)
    assert (60_000 + rewriter.sequence_offset) & 0xFFFF == 1002
    out_timestamp = (7 + rewriter.timestamp_offset) & 0xFFFFFFFF
    assert out_timestamp == 5000 + 3000 + 90_000


def test_the_same_source_keeps_its_timestamps_after_a_pause() -> None:
    rewriter = Rewriter(90_000, first_sequence=0, first_timestamp=0)
    rewriter.synchronise("a", 10, 900, 0)
    rewriter.advance(10, 900, 0)
    before = rewriter.timestamp_offset
    rewriter.synchronise("a", 500, 45_900, NS_PER_S)
    assert rewriter.timestamp_offset == before
    assert (500 + rewriter.sequence_offset) & 0xFFFF == 1


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 0xFFFF), st.integers(0, 60)), max_size=60)
)
def test_no_outgoing_number_is_ever_used_twice(steps: list[tuple[int, int, int]]) -> None:
    """AES-GCM must not protect two packets under one number."""
    rewriter = Rewriter(90_000, first_sequence=7, first_timestamp=0)
    missing = MissingPackets()
    used: list[int] = []
    rewriter.synchronise(0, 0, 0, 0)
    for now, (source, jump, back) in enumerate(steps):
        if source != 0:
            rewriter.synchronise(source, jump, 0, now)
            missing.clear()
        sequence = (rewriter.highest_in + 1 + (jump % 5) - back) & 0xFFFF
        ahead = (sequence - rewriter.highest_in) & 0xFFFF
        if 1 <= ahead <= limits.MAX_SEQUENCE_GAP:
            if ahead > 1:
                missing.gap((rewriter.highest_in + 1) & 0xFFFF, sequence, now)
            rewriter.advance(sequence, 0, now)
        elif rewriter.classify_late(sequence) == rewrite.RESTART or not missing.arrived(sequence):
            continue
        used.append((sequence + rewriter.sequence_offset) & 0xFFFF)
    assert len(used) == len(set(used))


def test_late_packets_are_told_from_restarts() -> None:
    rewriter = Rewriter(90_000, first_sequence=0, first_timestamp=0)
    rewriter.synchronise("a", 1000, 0, 0)
    for sequence in range(1000, 1100):
        rewriter.advance(sequence, 0, 0)
    assert rewriter.classify_late(1050) == rewrite.FORWARD
    assert rewriter.classify_late(990) == rewrite.DUPLICATE
    assert rewriter.classify_late(30_000) == rewrite.RESTART


def test_the_start_of_a_long_run_never_seems_to_lie_ahead() -> None:
    """After half a circle of numbers repairs were taken for packets from before the start."""
    rewriter = Rewriter(90_000, first_sequence=0, first_timestamp=0)
    rewriter.synchronise("a", 1_000, 0, 0)
    for number in range(1_000, 1_000 + 140_000):
        rewriter.advance(number & 0xFFFF, 0, 0)
        if number > 1_400 and number % 64 == 0:
            for behind in (1, limits.MAX_SEQUENCE_GAP - 1):
                assert rewriter.classify_late((number - behind) & 0xFFFF) == rewrite.FORWARD


def test_the_ring_gives_a_packet_back_but_not_twice_at_once() -> None:
    ring = PacketRing()
    ring.put(5, b"five")
    assert ring.take(5, NS_PER_S) == b"five"
    assert ring.take(5, NS_PER_S + 1) is None
    assert ring.take(5, NS_PER_S + limits.RESEND_INTERVAL_NS) == b"five"
    assert ring.take(6, NS_PER_S) is None


def test_the_ring_keeps_at_least_five_hundred_packets() -> None:
    ring = PacketRing()
    for sequence in range(2000):
        ring.put(sequence & 0xFFFF, b"x")
    assert sum(ring.take(s, NS_PER_S) is not None for s in range(2000)) >= 500
    assert ring.take(1999 - limits.RETRANSMIT_RING_PACKETS, NS_PER_S) is None


def test_missing_packets_are_requested_again_and_given_up() -> None:
    missing = MissingPackets()
    missing.gap(65_534, 2, 0)
    assert missing.due(0) == [65_534, 65_535, 0, 1]
    assert missing.due(1) == []
    assert missing.arrived(65_535)
    assert not missing.arrived(65_535)
    assert missing.due(limits.NACK_RETRY_NS) == [65_534, 0, 1]
    requests = 2
    now = limits.NACK_RETRY_NS
    while now < 2 * limits.NACK_GIVE_UP_NS:
        now += 10 * NS_PER_MS
        requests += bool(missing.due(now))
    assert requests == limits.MAX_NACKS_PER_PACKET
    assert len(missing) == 0
    assert not missing.arrived(0)


def test_missing_packets_are_bounded() -> None:
    missing = MissingPackets()
    for start in range(0, 40_000, 1000):
        missing.gap(start, start + 900, 0)
    assert len(missing) <= limits.MAX_MISSING_PACKETS
    assert len(missing.due(0)) <= limits.MAX_NACK_SEQUENCES


def test_keyframe_requests_are_coalesced_and_repeated_until_one_comes() -> None:
    requests = KeyframeRequests()
    assert not requests.due(0)
    requests.request(0)
    assert requests.due(0)
    requests.request(1)
    assert not requests.due(1)
    assert requests.due(limits.KEYFRAME_REPEAT_NS)
    assert not requests.due(limits.KEYFRAME_REPEAT_NS * 2)
    assert requests.due(limits.KEYFRAME_REPEAT_NS * 3)
    requests.arrived()
    assert not requests.due(100 * NS_PER_S)


def test_a_keyframe_is_not_requested_twice_within_the_interval() -> None:
    requests = KeyframeRequests()
    requests.request(0)
    assert requests.due(0)
    requests.arrived()
    requests.request(10 * NS_PER_MS)
    assert not requests.due(10 * NS_PER_MS)
    assert requests.due(limits.KEYFRAME_COALESCE_NS)


def test_reception_counts_loss_and_cycles() -> None:
    reception = Reception(9, 90_000)
    for sequence in (65_533, 65_534, 2, 3):
        reception.add(sequence, 0, 0)
    block = reception.report(0)
    assert block.highest == 0x10003
    assert block.lost == 3
    assert block.fraction == 3 * 256 // 7
    reception.add(4, 0, 0)
    assert reception.report(0).fraction == 0


def test_reception_echoes_the_sender_report_and_measures_jitter() -> None:
    reception = Reception(9, 1000)
    for i in range(200):
        reception.add(i, i * 20, i * 20 * NS_PER_MS + (i % 2) * 4 * NS_PER_MS)
    assert 2.0 < reception.jitter_ms < 4.5
    reception.sender_report(0x1234_5678_9ABC_DEF0, 0)
    block = reception.report(NS_PER_S // 2)
    assert block.last_sr == 0x5678_9ABC
    assert block.delay == 32768
