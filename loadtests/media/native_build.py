"""The two native programs of the benchmarks, built when they are needed and not before."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

_SOURCES = Path(__file__).parent / "native"
_BUILT = Path(__file__).parent / ".build"
_FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra")


class NoCompiler(Exception):
    """There is nothing here to build the native programs with."""


def generator() -> Path:
    """The load generator, an executable. Raises `NoCompiler`."""
    return _build("generator.c", "generator", ())


def floor_library() -> Path:
    """The floor, a shared object. Raises `NoCompiler`."""
    return _build("floor.c", "floor.so", ("-shared", "-fPIC"))


def _build(source: str, target: str, flags: tuple[str, ...]) -> Path:
    path = _BUILT / target
    newest = max(file.stat().st_mtime for file in _SOURCES.iterdir())
    if path.exists() and path.stat().st_mtime > newest:
        return path
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise NoCompiler("the load generator needs a C compiler (Debian: gcc and libc6-dev)")
    _BUILT.mkdir(exist_ok=True)
    # Two runs may build at once: each writes its own file, the rename is atomic.
    fresh = path.with_suffix(f".{os.getpid()}")
    command = [compiler, *_FLAGS, *flags, "-o", str(fresh), str(_SOURCES / source)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if built.returncode:
        raise NoCompiler(f"{source} could not be built:\n{built.stderr}")
    return fresh.rename(path)
