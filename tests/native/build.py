"""Building the C test programs, and fuzzing for longer than the tests do.

`python -m tests.native.build --seconds 600` fuzzes each target with its kept corpus and adds what
reaches new code to it.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
SOURCES = HERE.parent.parent / "engine" / "media" / "native"
FUZZ_TARGETS = ("plane", "parsers")
_MEMORY = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def compiler() -> str | None:
    """clang: the only one with libFuzzer."""
    return shutil.which("clang")


def _compile(output: Path, *sources: Path, flags: tuple[str, ...]) -> Path:
    clang = compiler()
    assert clang is not None
    plane = [path for path in sorted(SOURCES.glob("*.c")) if path.stem != "module"]
    command = [clang, "-std=c11", "-D_GNU_SOURCE", "-O1", "-g", "-Wall", "-Wextra", "-Werror"]
    command += [f"-I{SOURCES}", f"-I{HERE}", *flags, *map(str, (*sources, *plane))]
    subprocess.run([*command, "-o", str(output), "-lpthread", "-lm"], check=True)
    return output


def fuzz_target(name: str, folder: Path) -> Path:
    flags = ("-fsanitize=fuzzer", *_MEMORY)
    return _compile(folder / f"fuzz_{name}", HERE / f"fuzz_{name}.c", flags=flags)


def stress(sanitizer: str, folder: Path) -> Path:
    """`sanitizer`: thread or address."""
    flags = ("-fsanitize=thread",) if sanitizer == "thread" else _MEMORY
    return _compile(folder / f"stress_{sanitizer}", HERE / "stress_thread.c", flags=flags)


def messages(folder: Path) -> Path:
    return _compile(folder / "send_messages", HERE / "send_messages.c", flags=_MEMORY)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=300)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in FUZZ_TARGETS:
            target = fuzz_target(name, Path(folder))
            limit = f"-max_total_time={options.seconds}"
            command = [target, limit, "-max_len=1400", HERE / "corpora" / name]
            done = subprocess.run(command, check=False)
            if done.returncode:
                return done.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
