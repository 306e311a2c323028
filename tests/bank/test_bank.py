"""The short form of `python -m tests.bank`, for every run of the tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bank.controller import Bank, Plan
from tests.bank.evidence import Life, Stint
from tests.bank.verdict import judge

S = 1_000_000_000


@pytest.mark.postgres
@pytest.mark.timeout(600)  # it waits for processes to get somewhere, and a machine may be busy
async def test_killed_frozen_and_cut_off_engines_lose_and_invent_no_money(
    postgres_url: str, tmp_path: Path
) -> None:
    plan = Plan(postgres_url, tmp_path, kills=15, seed=1, mean_life_s=1.2)
    report = await Bank(plan).run()
    await judge(plan, report)
    assert report.breaks == []
    # It must have been a test of something; how much depends on how fast the machine is.
    assert report.figures["sessions that paid"] > 0
    assert report.figures["ended server_restart"] + report.figures["taken over"] > 0


def test_the_account_kept_by_the_scripts_counts_what_the_rules_say() -> None:
    """The judge's own arithmetic: a judge that lets everything pass proves nothing."""
    frames = [{"fact": "frame", "at_ns": at, "frame_ns": at} for at in (1 * S, 3 * S, 7 * S, 8 * S)]
    assert Stint("n", 1, frames).served_at_most_ns(9 * S, media=True) == 2 * S + 1 * S + 1 * S
    assert Stint("n", 1, frames).served_at_most_ns(99 * S, media=True) == 3 * S + 3 * S
    assert Stint("n", 1, frames).served_at_most_ns(4 * S, media=True) == 2 * S + 1 * S
    broke = Stint("n", 1, frames).served_at_most_ns(9 * S, media=True, spent=True)
    assert broke == 2 * S + 3 * S  # the money ran out within three seconds of the second frame
    words = [("counting", 2), ("away", 5), ("back", 6), ("ending", 9)]
    text = [{"fact": fact, "at_ns": at_s * S} for fact, at_s in words]
    assert Stint("n", 1, text).served_at_most_ns(10 * S, media=False) == 3 * S + 4 * S
    assert Stint("n", 1, text[:1]).served_at_most_ns(1 * S, media=False) == 0


def test_a_dead_or_frozen_process_serves_nobody() -> None:
    life = Life(died_ns=9 * S, frozen=[(4 * S, 6 * S)])
    assert life.last_running_ns(3 * S) == 3 * S
    assert life.last_running_ns(5 * S) == 4 * S
    assert life.last_running_ns(7 * S) == 7 * S
    assert life.last_running_ns(12 * S) == 9 * S
