"""Recordings from packets to files that staff can rely on: whole, closed, hashed, in the store."""

from __future__ import annotations

import itertools

import pytest

from engine.clock import NS_PER_MS, NS_PER_S
from engine.media.interface import Role
from tests.support.recorded_streams import FPS, Stream
from tests.support.recorder_rig import RecorderRig, decoded, instants_ms

SOUND, PICTURE, OTHER_SOUND = 1, 2, 3


def sound(role: Role = Role.EXPERT, ssrc: int = SOUND) -> Stream:
    return Stream(role, "opus", ssrc=ssrc, first_timestamp=0xFFFF_0000)


@pytest.mark.parametrize("codec", ["vp8", "vp9", "av1", "h264"])
async def test_every_frame_of_every_codec_can_be_read_back(rig: RecorderRig, codec: str) -> None:
    await rig.start()
    rig.play(
        sound(),
        Stream(Role.EXPERT, codec, ssrc=PICTURE),
        sound(Role.CUSTOMER, OTHER_SOUND),
        seconds=6,
    )
    await rig.stop()
    (file,) = await rig.files()
    assert file.suffix == (".mkv" if codec == "h264" else ".webm")
    assert decoded(file) == {
        ("expert", "audio", "opus"): 300,
        ("customer", "audio", "opus"): 300,
        ("expert", "video", codec): 6 * FPS,
    }
    assert (await rig.row()).end_reason == "stopped"
    assert rig.ends == []


@pytest.mark.parametrize("other", ["h264", "vp9", "av1"])
async def test_a_new_codec_begins_a_new_file_and_the_old_one_goes_on_in_its_own(
    rig: RecorderRig, other: str
) -> None:
    await rig.start()
    heard, seen = sound(), Stream(Role.EXPERT, "vp8", ssrc=PICTURE)
    rig.play(heard, seen, seconds=4)
    seen.change_codec(other)
    # Whatever comes of another codec before its keyframe is of no use: they are at 6 and at 8 s.
    rig.play(heard, seen, begin_s=4.4, seconds=7.6)
    seen.change_codec("vp8")
    rig.play(heard, seen, begin_s=7.6, seconds=10)
    await rig.stop()
    first, second = await rig.files()
    assert (first.suffix, second.suffix) == (".webm", ".mkv" if other == "h264" else ".webm")
    frames = decoded(first)
    blacks = frames["expert", "video", "vp8"] - 6 * FPS
    assert blacks in range(1, 4), "no picture, once a second"
    assert frames["expert", "audio", "opus"] == 480
    assert decoded(second) == {("expert", "video", other): round(1.6 * FPS)}
    begins_ms, ends_ms = (instants_ms(second)["expert", "video"][at] for at in (0, -1))
    assert begins_ms == pytest.approx(6_000, abs=10), "on the time line of the call"
    assert ends_ms == pytest.approx(7_600 - 1_000 / FPS, abs=10)


async def test_a_codec_that_changes_at_once_begins_a_file_of_its_own(rig: RecorderRig) -> None:
    await rig.start()
    seen = Stream(Role.EXPERT, "vp8", ssrc=PICTURE)
    rig.play(seen, seconds=1)
    seen.change_codec("h264")
    rig.play(seen, begin_s=2, seconds=4)
    await rig.stop()
    first, second = await rig.files()
    assert decoded(first) == {("expert", "video", "vp8"): FPS}
    assert decoded(second) == {("expert", "video", "h264"): 2 * FPS}


async def test_a_publisher_that_flaps_between_codecs_fills_no_folder(rig: RecorderRig) -> None:
    await rig.start()
    seen = Stream(Role.EXPERT, "vp8", ssrc=PICTURE)
    for turn in range(20):
        seen.change_codec("h264" if turn % 2 else "vp8")
        rig.play(seen, begin_s=2 * turn, seconds=2 * turn + 0.2)
    await rig.stop()
    first, second = await rig.files()
    assert decoded(first) == {("expert", "video", "vp8"): 50}
    assert decoded(second) == {("expert", "video", "h264"): 50}


async def test_the_end_is_written_though_something_before_it_never_came(rig: RecorderRig) -> None:
    await rig.start()
    heard, seen = sound(), Stream(Role.EXPERT, "vp8", ssrc=PICTURE)
    rig.play(heard, seen, seconds=2.9)
    heard.frame(145)  # lost
    rig.play(heard, begin_s=2.92, seconds=3)
    rig.recordings.cut(rig.session_id)
    rig.play(heard, begin_s=3, seconds=4)  # after the cut
    await rig.stop()
    (file,) = await rig.files()
    instants = instants_ms(file)["expert", "audio"]
    assert len(instants) == 149
    assert instants[-1] == pytest.approx(2_980, abs=10)


async def test_lost_sound_leaves_a_gap_and_holds_nothing_up(rig: RecorderRig) -> None:
    await rig.start()
    heard = sound()
    rig.play(heard, seconds=3)
    for number in range(150, 155):
        heard.frame(number)
    rig.play(heard, begin_s=3.1, seconds=6)
    await rig.stop()
    (file,) = await rig.files()
    instants = instants_ms(file)["expert", "audio"]
    expected = [20 * n for n in range(300) if n not in range(150, 155)]
    assert instants == pytest.approx(expected, abs=10)


async def test_a_recording_that_is_large_enough_ends_and_says_so(rig: RecorderRig) -> None:
    await rig.open(max_mb=1)
    await rig.start()
    seen, other = (
        Stream(role, "h264", ssrc=PICTURE + n)
        for n, role in enumerate((Role.EXPERT, Role.CUSTOMER))
    )
    begin_s = 0
    while not rig.ends:
        rig.play(seen, other, begin_s=begin_s, seconds=begin_s + 1)
        begin_s += 1
        await rig.turn()
    assert rig.ends == ["too_large"]
    assert rig.media.taps[rig.session_id] is None
    await rig.stop()
    (file,) = await rig.files()
    assert (await rig.row()).end_reason == "too_large"
    assert 1_000_000 <= file.stat().st_size < 1_300_000
    assert set(decoded(file)) == {("expert", "video", "h264"), ("customer", "video", "h264")}


async def test_a_picture_that_nobody_can_read_does_not_end_the_recording(
    rig: RecorderRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rig.start()
    heard, seen = sound(), Stream(Role.EXPERT, "h264", ssrc=PICTURE)
    # A keyframe without the parameter sets that say how large it is.
    nonsense = [(b"\0\0\0\1\x65" + bytes(40), True)]
    with monkeypatch.context() as patch:
        patch.setattr(Stream, "frames", property(lambda _: nonsense))
        rig.play(seen, seconds=3)
    rig.play(heard, seen, begin_s=4, seconds=8)
    await rig.stop()
    first, second = await rig.files()
    assert rig.ends == []
    assert decoded(first) == {("expert", "audio", "opus"): 200}
    assert decoded(second) == {("expert", "video", "h264"): 4 * FPS}


async def test_a_loss_that_nobody_else_has_asks_for_a_keyframe(rig: RecorderRig) -> None:
    """The viewer got the packet that the recorder did not."""
    await rig.start()
    seen = Stream(Role.EXPERT, "vp8", ssrc=PICTURE)
    rig.play(seen, seconds=1)
    rig.media.taps_set = 0
    seen.frame(FPS)  # lost
    rig.play(seen, begin_s=1 + 1 / FPS, seconds=1.9)
    await rig.turn()
    assert rig.media.taps_set == 0, "a retransmission may be under way"
    rig.play(seen, begin_s=2 + 1 / FPS, seconds=6)
    await rig.turn()
    assert rig.media.taps_set in range(1, 4), "not with every packet"


SKEWS_MS = [(0, 0), (20, 250), (250, 20), (700, 30), (30, 700)]


@pytest.mark.parametrize(("sound_late_ms", "picture_late_ms"), SKEWS_MS)
@pytest.mark.parametrize("reports_from_s", [0.5, 3.0])
async def test_sound_and_picture_are_where_their_sender_reports_say(
    rig: RecorderRig, sound_late_ms: int, picture_late_ms: int, reports_from_s: float
) -> None:
    """However differently both are held up on their way; before, they are where they came."""
    await rig.start()
    heard = Stream(
        Role.EXPERT, "opus", ssrc=SOUND, first_timestamp=0xFFFF_F000, ntp_s=3_900_000_000
    )
    seen = Stream(Role.EXPERT, "vp8", ssrc=PICTURE, first_timestamp=12_345, ntp_s=3_900_000_000)
    late = {SOUND: sound_late_ms * NS_PER_MS, PICTURE: picture_late_ms * NS_PER_MS}
    rig.play(heard, seen, seconds=reports_from_s, delay_ns=late)
    for second in range(8):
        at_s = reports_from_s + second
        for stream in (seen, heard):
            at_ns = round(at_s * NS_PER_S)
            rig.hand(stream, stream.report(at_ns), at_ns + max(late.values()))
        rig.play(heard, seen, begin_s=at_s, seconds=at_s + 1, delay_ns=late)
    await rig.stop()
    (file,) = await rig.files()
    instants = instants_ms(file)
    sounds, pictures = instants["expert", "audio"], instants["expert", "video"]
    assert len(sounds) == round(50 * (reports_from_s + 8))
    assert len(pictures) == len(range(round(reports_from_s * FPS))) + 8 * FPS
    for one in (sounds, pictures):
        assert all(earlier < later for earlier, later in itertools.pairwise(one))
    # Settled a second after the first reports; from the beginning, if they came in time for it.
    aligned_from_s = 0 if reports_from_s < 1 else reports_from_s + 1
    for number, at_ms in enumerate(pictures):
        if number >= aligned_from_s * FPS:
            assert at_ms - sounds[number * 50 // FPS] == pytest.approx(0, abs=10)
    before = (pictures[FPS] - sounds[50]) if reports_from_s > 1 else 0
    expected = picture_late_ms - sound_late_ms if reports_from_s > 1 else 0
    assert before == pytest.approx(expected, abs=10)
