"""No read or write out of place, no race, no leak, whatever comes in and whenever it ends."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.native import build
from tests.support.programs import output_of


@pytest.fixture(autouse=True)
def _compiler() -> None:
    if build.compiler() is None:
        message = "no clang here: sanitizers and fuzzers were not run"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)


@pytest.mark.parametrize(("target", "runs"), [("plane", 15_000), ("parsers", 100_000)])
def test_fuzzing_from_the_kept_corpus_finds_nothing(target: str, runs: int, tmp_path: Path) -> None:
    program = build.fuzz_target(target, tmp_path)
    fresh = tmp_path / "corpus"
    fresh.mkdir()
    kept = build.HERE / "corpora" / target
    limits = (f"-runs={runs}", "-max_total_time=40")  # whichever comes first
    found = f"-artifact_prefix={tmp_path}/"
    told = output_of(program, *limits, found, "-seed=1", "-max_len=1400", fresh, kept)
    assert "Done" in told


@pytest.mark.parametrize("sanitizer", ["thread", "address"])
def test_paths_come_and_go_under_full_load(sanitizer: str, tmp_path: Path) -> None:
    program = build.stress(sanitizer, tmp_path)
    setarch = shutil.which("setarch")
    # ThreadSanitizer cannot place its shadow where the kernel randomises addresses widely.
    fixed = [setarch, "-R"] if setarch and sanitizer == "thread" else []
    assert "forwarded" in output_of(*fixed, program, "8")


def test_packets_of_a_frame_leave_in_one_message(tmp_path: Path) -> None:
    assert "a message" in output_of(build.messages(tmp_path))


def test_a_program_is_not_charged_with_the_memory_of_who_started_it() -> None:
    ballast_kib = 256 * 1024
    ballast = b"x" * (ballast_kib * 1024)
    peak = "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    assert int(output_of(sys.executable, "-S", "-c", peak)) < ballast_kib < len(ballast)
