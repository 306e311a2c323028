"""No read or write out of place, no race, no leak, whatever comes in and whenever it ends."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.native import build


@pytest.fixture(autouse=True)
def _compiler() -> None:
    if build.compiler() is None:
        message = "no clang here: sanitizers and fuzzers were not run"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)


def _run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout + done.stderr


@pytest.mark.parametrize(("target", "runs"), [("plane", 15_000), ("parsers", 100_000)])
def test_fuzzing_from_the_kept_corpus_finds_nothing(target: str, runs: int, tmp_path: Path) -> None:
    program = build.fuzz_target(target, tmp_path)
    fresh = tmp_path / "corpus"
    fresh.mkdir()
    kept = build.HERE / "corpora" / target
    limits = (f"-runs={runs}", "-max_total_time=40")  # whichever comes first
    told = _run(program, *limits, "-seed=1", "-max_len=1400", fresh, kept)
    assert "Done" in told


@pytest.mark.parametrize("sanitizer", ["thread", "address"])
def test_paths_come_and_go_under_full_load(sanitizer: str, tmp_path: Path) -> None:
    program = build.stress(sanitizer, tmp_path)
    setarch = shutil.which("setarch")
    # ThreadSanitizer cannot place its shadow where the kernel randomises addresses widely.
    fixed = [setarch, "-R"] if setarch and sanitizer == "thread" else []
    assert "forwarded" in _run(*fixed, program, "8")


def test_packets_of_a_frame_leave_in_one_message(tmp_path: Path) -> None:
    assert "a message" in _run(build.messages(tmp_path))
