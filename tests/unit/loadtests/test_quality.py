"""What is made of two browsers' statistics."""

from __future__ import annotations

from loadtests.media.quality import Sample, closing, healthy_since_s, quality
from loadtests.media.quality_call import _description


def samples(*, encoded: list[int], decoded: list[int], frozen_s: float = 0.0) -> list[Sample]:
    """One every half second."""
    return [
        Sample(
            at_s=100 + i / 2,
            encoded=sent,
            decoded=seen,
            freezes=3 if i and frozen_s else 0,
            frozen_s=2 + (frozen_s if i else 0.0),
            target_kbps=1000 + 100 * i,
        )
        for i, (sent, seen) in enumerate(zip(encoded, decoded, strict=True))
    ]


def test_a_call_that_never_suffered_is_healthy_at_once() -> None:
    assert healthy_since_s(samples(encoded=[0, 15, 30], decoded=[0, 14, 29])) == 0.0


def test_recovery_is_the_start_of_the_first_healthy_second() -> None:
    encoded = [0, 15, 30, 45, 60, 75, 90]
    assert healthy_since_s(samples(encoded=encoded, decoded=[0, 0, 0, 5, 20, 35, 50])) == 1.5


def test_a_frozen_picture_never_recovers() -> None:
    assert healthy_since_s(samples(encoded=[0, 15, 30, 45], decoded=[7, 7, 7, 7])) is None


def test_a_publisher_that_encodes_nothing_is_not_healthy() -> None:
    assert healthy_since_s(samples(encoded=[9, 9, 9, 9], decoded=[7, 7, 7, 7])) is None


def test_freezes_count_until_the_picture_is_back_and_frames_while_the_loss_lasts() -> None:
    during = samples(encoded=[100, 115, 130], decoded=[90, 95, 100])
    after = samples(encoded=[130, 145, 160], decoded=[100, 115, 130], frozen_s=1.25)
    found = quality(during, after, dropped=40)
    assert (found.freezes, found.frozen_s, found.recovered_s) == (3, 1.25, 0.0)
    assert (found.encoded, found.decoded) == (30, 10)
    assert (found.before_kbps, found.target_kbps) == (1000, 1100)
    assert found.dropped == 40


def test_a_server_that_is_not_installed_is_null() -> None:
    assert closing({"engine": {"no loss": None}, "janus": "not installed"}) == (
        '{"engine": {"no loss": null}, "janus": null}'
    )


def test_janus_is_not_told_the_browsers_own_addresses() -> None:
    sdp = "v=0\r\nm=video 9 x 96\r\na=mid:0\r\na=candidate:7 1 udp 1 192.0.2.1 5000 typ host\r\n"
    told = _description("offer", sdp, "10.77.0.1")["sdp"]
    assert "192.0.2.1" not in told
    assert told.count("a=candidate:") == 1
