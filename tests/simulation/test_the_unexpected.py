"""Tests of the tests: what raises what it may not raise breaks a seed, and the seed is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner

from engine.chat.service import ChatService
from engine.session.heartbeat import Heartbeat
from engine.session.service import SessionService
from tests.simulation import __main__ as program
from tests.simulation.chaos import Chaos
from tests.simulation.node import Node
from tests.simulation.people import Couple, Stream
from tests.simulation.run import run_seed
from tests.simulation.world import World
from tests.support.fake_media import FakeMediaWorker

HOURS = 0.03
SEED = 3
"""People call and write, and processes die."""

RAISING = {
    "a request to chat": (ChatService, "send"),
    "a request to the session service": (SessionService, "join"),
    "a task of the engine": (Heartbeat, "_work"),
    "what media report": (FakeMediaWorker, "emit"),
    "the start of a process": (Node, "start"),
    "the office": (World, "topup"),
    "a scene": (Chaos, "_replace"),
    "a person": (Couple, "_leave"),
    "a call": (Stream, "_forward"),
    "the end": (World, "heal"),
}


def _broken(*_: object, **__: object) -> None:
    raise ValueError("planted")


async def _broken_later(*_: object, **__: object) -> None:
    raise ValueError("planted")


def _fail(owner: type[Any], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    later = getattr(owner, name).__code__.co_flags & 0x80  # a coroutine function
    what: Callable[..., Any] = _broken_later if later else _broken
    monkeypatch.setattr(owner, name, what)


@pytest.mark.parametrize("where", list(RAISING))
def test_an_unexpected_exception_breaks_the_seed(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fail(*RAISING[where], monkeypatch)
    broken = run_seed(SEED, hours=HOURS).broken
    assert broken is not None
    assert broken.name == "defect"
    assert "ValueError: planted" in str(broken)


def test_a_broken_seed_is_printed_with_what_replays_it(monkeypatch: pytest.MonkeyPatch) -> None:
    _fail(World, "topup", monkeypatch)
    _ends_with_the_seed("seed 3: defect: ")


def test_no_seed_is_lost_when_the_simulation_itself_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "run_seed", _broken)
    _ends_with_the_seed("seed 3: ValueError: planted")


def _ends_with_the_seed(said: str) -> None:
    result = CliRunner().invoke(program.main, ["--seed", str(SEED), "--hours", str(HOURS)])
    assert result.exit_code == 1
    assert said in result.output
    assert f"again: python -m tests.simulation --seed {SEED} --hours {HOURS}" in result.output
