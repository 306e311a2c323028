"""The meter against a naive replay that looks at every tenth of a second."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.clock import NS_PER_S
from engine.metering import signals as s
from engine.metering.policy import Policy
from engine.metering.tariff import Tariff
from tests.support.meter_rig import MeterRig
from tests.support.naive_meter import NaiveMeter, Outcome

TENTH_MS = 100


@st.composite
def cases(draw: st.DrawFn) -> tuple[MeterRig, NaiveMeter]:
    price, per_s = draw(st.sampled_from([(90_000, 900), (300_000, 3600), (7, 60), (1, 7)]))
    block_s = draw(st.sampled_from([1, 7, 60, 120]))
    grace_s = draw(st.sampled_from([0, 60]))
    ordinal = draw(st.sampled_from([1, 2]))
    tariff = Tariff(
        currency="TRY",
        price_minor=price,
        per_seconds=per_s,
        block_seconds=block_s,
        prepaid_seconds=0,
        grace_seconds=grace_s,
    )
    most = tariff.due_minor(300 // block_s + 2)
    prepaid, wallet = draw(st.integers(0, most)), draw(st.integers(0, most))
    topups = draw(st.dictionaries(st.integers(1, 3_000), st.integers(1, most), max_size=4))
    policy = Policy(commission_bps=1_234, hold_slice_seconds=draw(st.integers(2, 60)))
    rig = MeterRig(
        tariff,
        prepaid=prepaid,
        wallet=wallet,
        ordinal=ordinal,
        policy=policy,
        text=draw(st.booleans()),
    )
    free_s = grace_s if ordinal == 1 else 0
    naive = NaiveMeter(price, per_s, block_s, 1_234, free_s, prepaid + wallet, topups)
    return rig, naive


def instants(gaps: list[int]) -> set[int]:
    found, at = set(), 0
    for gap in gaps:
        at += gap
        found.add(at)
    return found


@given(
    cases(),
    st.lists(
        st.one_of(st.integers(1, 29), st.sampled_from([10, 29, 30, 31, 79, 80, 299, 300, 301])),
        max_size=200,
    ),
    st.lists(st.sampled_from([30, 80]), min_size=1, max_size=5),
    st.integers(0, 3_000),
)
@settings(max_examples=300, deadline=None)
def test_it_agrees_with_a_naive_replay(
    case: tuple[MeterRig, NaiveMeter], gaps: list[int], patience: list[int], end: int
) -> None:
    rig, naive = case
    found = sorted(at for at in instants(gaps) if at <= end)
    # Each connection has its own patience and lasts for some acknowledgements.
    marks = {at: patience[number // 7 % len(patience)] for number, at in enumerate(found)}
    text = rig.text
    expected = naive.text(set(marks), end) if text else naive.media(marks, end)
    money = rig.available + sum(rig.holds.values())
    topped = _play(rig, naive, marks, end, text=text)
    settlement = rig.end()
    got = Outcome(
        settlement.elapsed_ns * 10 // NS_PER_S,
        settlement.blocks,
        settlement.total_minor,
        settlement.fee_minor,
    )
    assert got == expected
    assert (rig.captured, rig.fees) == (got.total, got.fee)
    assert rig.available + sum(rig.holds.values()) == money + topped - got.total


def _play(rig: MeterRig, naive: NaiveMeter, marks: dict[int, int], end: int, *, text: bool) -> int:
    """Everything in order; what was topped up before it ended."""
    topped = 0
    up = True
    rig.start()
    for at in sorted({at for at in naive.topups if at <= end} | marks.keys()):
        # What falls due at this very instant comes after what is stamped with it, except money.
        rig.wait(at * TENTH_MS - 1, acks_every_ms=None)
        rig.now_ms = at * TENTH_MS
        if at in marks and not text and rig.ended is None:
            rig.feed(s.Acked(rig.ns(rig.now_ms), marks[at] * NS_PER_S // 10))
        if at in naive.topups and rig.ended is None:
            rig.topup(naive.topups[at])
            topped += naive.topups[at]
        if at in marks and text and rig.ended is None:
            up = not up
            rig.feed(s.Connection(up))
    rig.wait(end * TENTH_MS, acks_every_ms=None)
    return topped


@given(st.integers(1, 4_000), st.integers(2, 120))
@example(3_600, 30)
@settings(max_examples=30, deadline=None)
def test_slices_never_change_the_total(end: int, slice_s: int) -> None:
    tariff = Tariff(
        currency="TRY",
        price_minor=100_000,
        per_seconds=3_600,
        block_seconds=1,
        prepaid_seconds=0,
        grace_seconds=0,
    )
    rig = MeterRig(
        tariff,
        wallet=10**6,
        policy=Policy(commission_bps=777, hold_slice_seconds=slice_s),
    )
    rig.start()
    assert rig.end(end * 1_000).total_minor == 100_000 * end // 3_600
    assert rig.fees == (100_000 * end // 3_600) * 777 // 10_000
    assert rig.available == 10**6 - rig.captured
