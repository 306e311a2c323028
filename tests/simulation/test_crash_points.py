"""One call, killed at every await: of holding, capturing, settling, giving back and recovering;
and its order in the office.

Each sweep also proves that it went where it should: that money was taken block by block, given
back, and moved by recovery.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.clock import NS_PER_S
from tests.simulation.office import CANCEL, CLOSE, DISPUTE, REFUND, RULE, OfficeScene, Step
from tests.simulation.sweep import Call, Scene, sweep

SHARES = 4
"""The sweeps are cut into so many tests, for several processes to run."""

BY_BLOCK = Call()
IN_BATCHES = Call(by_block=False)

pytestmark = pytest.mark.timeout(600)  # a timeout within a scene would look like a broken one


def test_the_call_itself_holds_captures_and_settles() -> None:
    scene = Scene(BY_BLOCK).check()
    assert len(scene.points) > 100
    assert {turn.incarnation for turn in scene.points} == {0}
    assert scene.moved["capture"] == 2
    assert scene.moved["reverse"] == 0


def test_in_batches_nothing_is_captured_before_the_end() -> None:
    scene = Scene(IN_BATCHES).check()
    assert scene.moved["capture"] == 1


@pytest.mark.parametrize("comes_back", [False, True])
@pytest.mark.parametrize("share", range(SHARES))
def test_a_call_killed_at_any_await(share: int, comes_back: bool) -> None:
    clean = Scene(BY_BLOCK).check()
    moved = sweep(replace(BY_BLOCK, comes_back=comes_back), clean.points[share::SHARES])
    assert moved["capture"] >= 2
    assert moved["reverse"] >= 1


@pytest.mark.parametrize("share", range(SHARES))
def test_a_recovery_killed_at_any_await(share: int) -> None:
    """The first crash is in the second block, a part of which is given back."""
    crash = _crash_in_the_second_block(BY_BLOCK)
    first = Scene(BY_BLOCK, crash).check()
    assert first.moved["capture"] == 2
    assert first.moved["reverse"] == 1
    recovering = [turn for turn in first.points if turn.incarnation == 1]
    assert len(recovering) > 50
    sweep(BY_BLOCK, recovering[share::SHARES], crash)


@pytest.mark.parametrize("call", [BY_BLOCK, IN_BATCHES])
def test_a_settlement_by_recovery_killed_at_any_await(call: Call) -> None:
    """Nobody goes on with the call: what was not captured is, or what was not served returns."""
    call = replace(call, resumed=False)
    crash = _crash_in_the_second_block(call)
    first = Scene(call, crash).check()
    assert (first.moved["rest"], first.moved["reverse"]) == ((0, 1) if call.by_block else (1, 0))
    settling = [turn for turn in first.points if turn.incarnation == 1]
    assert len(settling) > 10
    sweep(call, settling, crash)


@pytest.mark.parametrize("call", [BY_BLOCK, IN_BATCHES])
def test_a_call_that_recovery_settles_killed_at_any_await(call: Call) -> None:
    call = replace(call, resumed=False)
    clean = Scene(call).check()
    served = [turn for turn in clean.points if turn.after_ns > NS_PER_S]
    moved = sweep(call, served)
    assert moved["rest"] + moved["reverse"] >= 10


def _crash_in_the_second_block(call: Call) -> int:
    clean = Scene(call).check()
    return next(turn.number for turn in clean.points if turn.after_ns > 13 * NS_PER_S)


def test_a_chat_killed_at_any_await() -> None:
    call = Call(mode="text")
    clean = Scene(call).check()
    served = [turn for turn in clean.points if turn.after_ns > 0]
    assert len(served) > 50
    moved = sweep(call, served)
    assert moved["capture"] >= 2
    assert moved["reverse"] >= 1


@pytest.mark.parametrize(
    ("call", "steps"),
    [(None, [CANCEL]), (Call(prepaid_s=30), [REFUND, CLOSE, DISPUTE, RULE])],
    ids=["released", "given back"],
)
def test_an_office_killed_at_any_await(call: Call | None, steps: list[Step]) -> None:
    """Of a cancelled order the prepayment is free again; of a disputed one all money goes back."""
    clean = OfficeScene(call, steps).check()
    assert len(clean.points) > 10
    assert clean.moved["reverse"] == (0 if call is None else 3)
    assert clean.left_minor == 0
    for turn in clean.points:
        again = OfficeScene(call, steps, turn.number).check()
        assert (again.moved, again.left_minor) == (clean.moved, 0)
