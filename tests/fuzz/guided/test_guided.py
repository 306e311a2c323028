"""A short run of each guided fuzzer from its kept corpus."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest

from tests.support.programs import output_of

CORPORA = Path(__file__).parent / "corpora"


@pytest.mark.parametrize("name", ["sdp", "stun", "rtcp"])
def test_nothing_but_the_declared_error_escapes(name: str, tmp_path: Path) -> None:
    if importlib.util.find_spec("atheris") is None:
        message = "atheris is not installed: no guided fuzzing"
        if os.environ.get("CI") and sys.version_info < (3, 14):
            pytest.fail(message)
        pytest.skip(message)
    command = [sys.executable, "-m", "tests.fuzz.guided.target", name]
    command += [str(tmp_path), str(CORPORA / name), "-runs=4000", "-max_len=3000", "-seed=1"]
    assert "Done" in output_of(*command, f"-artifact_prefix={tmp_path}/")
