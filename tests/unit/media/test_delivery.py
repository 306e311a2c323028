"""The first frame, delivery, and acknowledgements that never come."""

from __future__ import annotations

from engine.clock import NS_PER_MS, NS_PER_S
from engine.media import frames, limits
from engine.media.acks import Acknowledgements
from engine.media.delivery import DeliveryPace, DeliveryWatch
from engine.media.first_frame import FirstFrame
from engine.media.interface import MediaKind
from tests.support import media_packets as packets

KEYFRAME = frames.START | frames.KEY
VIDEO, AUDIO = MediaKind.VIDEO, MediaKind.AUDIO


def _video(first: FirstFrame, numbers: range, *, timestamp: int = 90, key: bool = True) -> None:
    for number in numbers:
        first.video_sent(
            number,
            timestamp,
            number == numbers[-1],
            flags=KEYFRAME if key and number == numbers[0] else 0,
            transport=number + 1000,
            now_ns=number * NS_PER_MS,
        )


def test_a_keyframe_counts_once_every_packet_is_acknowledged() -> None:
    first = FirstFrame()
    _video(first, range(10, 14))
    assert first.transport_acked([1010, 1011, 1013]) is None
    assert first.transport_acked([1012]) == (VIDEO, 13 * NS_PER_MS)


def test_an_incomplete_keyframe_never_counts() -> None:
    first = FirstFrame()
    first.video_sent(10, 90, False, flags=KEYFRAME, transport=1, now_ns=1)
    first.video_sent(12, 90, True, flags=0, transport=3, now_ns=3)
    assert first.transport_acked([1, 2, 3]) is None
    assert first.report_acked(VIDEO, 12, 0) is None
    first.video_sent(11, 90, False, flags=0, transport=4, now_ns=9)
    assert first.transport_acked([4]) == (VIDEO, 9)


def test_an_inter_frame_never_counts() -> None:
    first = FirstFrame()
    _video(first, range(10, 14), key=False)
    assert first.transport_acked(list(range(1000, 1030))) is None


def test_parameter_sets_alone_never_count() -> None:
    first = FirstFrame()
    first.video_sent(1, 90, True, flags=frames.START, transport=1, now_ns=1)
    assert first.transport_acked([1]) is None
    assert first.report_acked(VIDEO, 1, 0) is None


def test_a_report_past_the_last_packet_acknowledges_a_mended_frame() -> None:
    first = FirstFrame()
    for number in range(65_534, 65_537):
        first.video_sent(
            number & 0xFFFF,
            90,
            number == 65_536,
            flags=KEYFRAME if number == 65_534 else 0,
            transport=-1,
            now_ns=number,
        )
    assert first.transport_acked([5]) is None
    assert first.report_acked(VIDEO, 65_535, 0) is None
    assert first.report_acked(VIDEO, 3, 1) == (VIDEO, 65_536)


def test_the_earliest_acknowledged_frame_counts() -> None:
    first = FirstFrame()
    first.audio_sent(1, 500, 3 * NS_PER_MS)
    _video(first, range(1, 3))
    assert first.transport_acked([500, 1001, 1002]) == (VIDEO, 2 * NS_PER_MS)


def test_audio_counts_by_the_first_frame_that_arrived() -> None:
    first = FirstFrame()
    for number in range(5):
        first.audio_sent(number, 100 + number, number)
    assert first.transport_acked([102, 103]) == (AUDIO, 2)


def test_audio_by_report_is_the_first_frame_unless_something_was_lost() -> None:
    first = FirstFrame()
    for number in range(5):
        first.audio_sent(number, -1, number + 10)
    assert first.report_acked(AUDIO, 3, 0) == (AUDIO, 10)
    assert first.report_acked(AUDIO, 3, 1) == (AUDIO, 13)
    assert first.report_acked(AUDIO, 65_535, 0) is None


def test_candidates_are_bounded() -> None:
    first = FirstFrame()
    for number in range(5000):
        first.audio_sent(number, -1, number)
        first.video_sent(number, number, False, flags=KEYFRAME, transport=-1, now_ns=number)
    assert len(first._audio) == limits.MAX_AUDIO_CANDIDATES
    assert len(first._video) == limits.MAX_FRAME_CANDIDATES


def test_acknowledgements_give_the_newest_send_instant() -> None:
    acks = Acknowledgements()
    for number in range(65_530, 65_550):
        acks.sent(number & 0xFFFF, number)
    assert acks.transport_acked([65_535, 2])
    assert acks.last_acked_sent_ns == 65_538
    assert not acks.transport_acked([65_534])
    assert not acks.transport_acked([300])


def test_media_without_acknowledgement_stops_after_five_seconds() -> None:
    acks = Acknowledgements()
    stopped_at = None
    for step in range(700):
        now = step * 10 * NS_PER_MS
        acks.sent(step, now + 1)
        if acks.withheld(now + 1):
            stopped_at = now
    assert stopped_at == 5 * NS_PER_S
    assert acks.stopped


def test_acknowledged_media_goes_on() -> None:
    acks = Acknowledgements()
    for step in range(2000):
        now = step * 10 * NS_PER_MS + 1
        acks.sent(step, now)
        if step % 400 == 0:
            acks.transport_acked([step])
        assert not acks.withheld(now)


def test_a_pause_in_the_media_is_no_withholding() -> None:
    acks = Acknowledgements()
    acks.sent(1, 1)
    assert not acks.withheld(20 * NS_PER_S)
    acks.sent(2, 20 * NS_PER_S)
    assert not acks.withheld(20 * NS_PER_S + 1)


def _flow_until_stopped(acks: Acknowledgements, now: int) -> int:
    while not acks.withheld(now):
        now += 100 * NS_PER_MS
        acks.sent(-1, now)
    return now


def test_an_echoed_sender_report_resumes_but_ever_later_without_acknowledgement() -> None:
    acks = Acknowledgements()
    now = _flow_until_stopped(acks, 1)
    assert not acks.report_echoed(now - 1, now + 1), "the report left before the stop"
    assert not acks.report_echoed(0, now + 1)
    assert acks.report_echoed(now + 1, now + 2)
    assert not acks.stopped
    now = _flow_until_stopped(acks, now + 2)
    assert not acks.report_echoed(now + 1, now + 2)
    assert acks.report_echoed(now + 1, now + 2 * limits.ACK_TIMEOUT_NS)
    acks.sent(7, now + 3 * limits.ACK_TIMEOUT_NS)
    assert acks.transport_acked([7])
    now = _flow_until_stopped(acks, now + 4 * limits.ACK_TIMEOUT_NS)
    assert acks.report_echoed(now + 1, now + 2)


def _watch() -> DeliveryWatch:
    return DeliveryWatch(seek_first_frame=True, ack_timeout_ns=limits.ACK_TIMEOUT_NS)


def _send(watch: DeliveryWatch, sequence: int, now_ns: int, payload: bytes = b"x") -> None:
    packet = packets.rtp(sequence=sequence, payload=payload, payload_type=111)
    watch.sent(AUDIO, packet, len(packet), sequence=sequence, timestamp=0, flags=0, now_ns=now_ns)


def test_empty_audio_packets_are_no_frames() -> None:
    watch = _watch()
    _send(watch, 1, 10, payload=b"")
    assert watch.report_acked(AUDIO, 1, 0, 1)
    assert watch.take_found() is None
    _send(watch, 2, 30)
    assert watch.report_acked(AUDIO, 2, 0, 2)
    assert watch.take_found() == (AUDIO, 30)


def test_a_report_beyond_what_was_sent_is_not_believed() -> None:
    watch = _watch()
    _send(watch, 1, 10)
    assert not watch.report_acked(AUDIO, 2, 0, 1)
    assert not watch.report_acked(AUDIO, 40_000, 0, 1)
    assert watch.take_found() is None


def test_an_old_report_is_no_news() -> None:
    watch = _watch()
    for sequence in range(1, 6):
        _send(watch, sequence, sequence)
    assert watch.report_acked(AUDIO, 4, 0, 5)
    assert not watch.report_acked(AUDIO, 4, 0, 5)
    assert not watch.report_acked(AUDIO, 3, 0, 5)


def _run(watch: DeliveryWatch, first: int, last: int, at_s: int) -> None:
    """Packets from `at_s` on, half a second apart."""
    for number in range(first, last + 1):
        now_ns = at_s * NS_PER_S + (number - first) * 500 * NS_PER_MS
        packet = packets.rtp(sequence=number, payload_type=111, transport=100 + number)
        watch.sent(AUDIO, packet, len(packet), sequence=number, timestamp=0, flags=0, now_ns=now_ns)


def test_the_first_packet_after_a_silence_that_is_acknowledged_is_told_of() -> None:
    for lost, feedback, resumed_s in ((0, [], 20), (1, [], 0), (0, [108, 109, 110, 111], 21)):
        watch = _watch()
        _run(watch, 1, 4, 10)
        assert watch.report_acked(AUDIO, 4, 0, 4)
        assert watch.take_resumed(11 * NS_PER_S) == 10 * NS_PER_S
        assert watch.take_resumed(11 * NS_PER_S) == 0
        _run(watch, 6, 12, 20)
        acked = watch.transport_acked(feedback) if feedback else False
        assert acked or watch.report_acked(AUDIO, 12, lost, 12)
        newest_ns = watch.acks.last_acked_sent_ns
        assert watch.take_resumed(newest_ns) == resumed_s * NS_PER_S
        _run(watch, 13, 14, 23)  # within a second: the same run
        assert watch.report_acked(AUDIO, 14, lost, 14)
        assert watch.take_resumed(30 * NS_PER_S) == 0


def test_what_is_acknowledged_of_before_a_silence_says_nothing_of_what_came_after_it() -> None:
    watch = _watch()
    _run(watch, 1, 4, 10)
    _run(watch, 6, 8, 20)
    assert watch.report_acked(AUDIO, 4, 0, 8)
    assert watch.take_resumed(30 * NS_PER_S) == 0
    assert watch.report_acked(AUDIO, 6, 0, 8)
    assert watch.take_resumed(20 * NS_PER_S) == 0  # itself the newest
    assert watch.report_acked(AUDIO, 8, 0, 8)
    assert watch.take_resumed(30 * NS_PER_S) == 0


def test_delivery_is_told_once_a_second_and_the_last_word_is_not_lost() -> None:
    pace = DeliveryPace()
    told = []
    for step in range(30):
        now = step * 100 * NS_PER_MS
        if step < 25:
            pace.acked(now + 1)
        told.append(pace.due(now))
    assert [t for t in told if t] == [1, NS_PER_S + 1, 2 * NS_PER_S + 1]
    assert pace.due(3 * NS_PER_S) == 2400 * NS_PER_MS + 1
    assert pace.due(9 * NS_PER_S) == 0
