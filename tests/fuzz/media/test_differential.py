"""The compiled plane does what the reference does, whatever comes in."""

from __future__ import annotations

import pytest

from engine.media import limits, native
from tests.fuzz.media import differential


@pytest.mark.parametrize("seed", range(30))
def test_both_planes_send_the_same_bytes(seed: int) -> None:
    differential.run(seed, steps=700)


def test_the_runs_reach_what_they_are_about() -> None:
    """Otherwise equal silence would pass."""
    duel = differential.Duel(1)
    for _ in range(4000):
        duel.step()
    reached = {name for name, count in duel.twins[0].plane.counters().items() if count}
    assert reached >= {
        "srtp_auth_failed",
        "rtp_forwarded",
        "rtp_duplicate",
        "rtp_not_forwarded",
        "rtp_repairs_forwarded",
        "packets_resent",
        "nacks_sent",
        "keyframe_requests_sent",
        "keyframes_seen",
        "stun_refused",
    }


def _differs(patch: pytest.MonkeyPatch, target: str, value: object) -> bool:
    with patch.context() as planted:
        planted.setattr(target, value)
        try:
            for seed in range(12):
                differential.run(seed, steps=1500)
        except AssertionError:
            return True
    return False


@pytest.mark.parametrize(
    ("target", "value"),
    [
        ("engine.media.limits.MAX_SEQUENCE_GAP", 399),
        ("engine.media.limits.RESEND_INTERVAL_NS", 0),
        ("engine.media.limits.NACK_RETRY_NS", 21_000_000),
        ("engine.media.limits.KEYFRAME_COALESCE_NS", 0),
        ("engine.media.limits.SOURCE_IDLE_NS", 0),
        ("engine.media.rewrite.Rewriter.classify_late", lambda *_: 1),
        ("engine.media.retransmit.MissingPackets.arrived", lambda *_: True),
        ("engine.media.frames.inspect", lambda *_: 3),
        ("engine.media.transport_feedback.Withheld.take", lambda *_: False),
        ("engine.media.acks.Acknowledgements.withheld", lambda *_: False),
        ("engine.media.debt.Debt.overdue", lambda *_: False),
        ("engine.media.debt.Debt.began", lambda *_: None),
        ("engine.media.limits.ACK_DEBT_BILLED_PER_REPAID", 9),
        ("engine.media.path.PythonPath._mid_agrees", lambda *_: True),
    ],
)
def test_a_difference_is_found(target: str, value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test of the test: the reference changed in one place is no twin any more."""
    assert _differs(monkeypatch, target, value)


def test_the_bounds_are_the_same() -> None:
    assert native._plane is not None
    bounds = dict(native._plane.LIMITS)
    assert {name: getattr(limits, name) for name in bounds} == bounds
