"""Runs the unit tests against mutants, one forked process each.

The parent imports what the tests need but the modules under test, so that a child starts at once
and imports one of them from the mutant's source instead of its file.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest

from tests.mutation.mutants import Mutant

_WARM = (
    "aiohttp.pytest_plugin",
    "aiosqlite",
    "alembic.autogenerate",
    "alembic.command",
    "asyncpg",
    "engine.ids",
    "engine.store.database",
    "engine.store.migrate",
    "hypothesis.stateful",
    "msgspec.json",
    "playwright.async_api",
    "pytest_asyncio.plugin",
    "rich.table",
    "sqlalchemy.dialects.postgresql.asyncpg",
    "sqlalchemy.dialects.sqlite.aiosqlite",
)
_UNUSED = (
    "anyio",
    "cacheprovider",
    "faulthandler",
    "logging",
    "playwright",
    "terminalreporter",
    "xdist",
)
_PLAIN = [
    "-x",
    "-q",
    "-Wignore::pytest.PytestAssertRewriteWarning",
    *(f"-pno:{plugin}" for plugin in _UNUSED),
    "-m",
    "not postgres",
]
_NONE_MATCHED = pytest.ExitCode.NO_TESTS_COLLECTED
_PATIENCE_S = 300
_MOST_BYTES = 1 << 30
"""An endless loop that collects effects must not take the machine's memory."""
_MEMORY = Path("/dev/shm")
"""Where it exists, the tests' stores live there: they wait for the disk most of the time."""


@dataclass(frozen=True)
class Suite:
    """`quick` runs first; only what survives it meets `postgres`, tests of statements that only
    PostgreSQL gets, and of locks, which SQLite has no use for; and then the `thorough`, random
    ones, which notice the fewest.

    `named`: tests are called after the functions they are about, so those of a mutant's own go
    before all others.
    """

    quick: tuple[str, ...]
    thorough: tuple[str, ...]
    postgres: tuple[str, ...] = ()
    named: bool = False

    def stages(self, *, quick: bool) -> list[tuple[str, ...]]:
        later = [("-m", "postgres", *self.postgres) if self.postgres else (), self.thorough]
        return [self.quick] if quick else [stage for stage in (self.quick, *later) if stage]


@dataclass
class _Child:
    mutant: Mutant
    started_s: float
    slot: int


def prepare() -> None:
    for name in _WARM:
        importlib.import_module(name)
    hypothesis.settings.register_profile("mutation", derandomize=True, database=None, deadline=None)
    hypothesis.settings.load_profile("mutation")
    early = [name for name in sys.modules if name.startswith("engine.metering")]
    assert not early, f"imported before they could be mutated: {early}"


class Runner:
    """`jobs` children at a time."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        base = _MEMORY if os.access(_MEMORY, os.W_OK) else None
        self._directory = Path(tempfile.mkdtemp(prefix="talktime-mutation-", dir=base))

    def close(self) -> None:
        shutil.rmtree(self._directory, ignore_errors=True)

    def cost_s(self, module: str, arguments: Sequence[str], source: str) -> float:
        """Processor time of the tests on the module as it is. Raises if they fail."""
        child = self._start(module, arguments, Mutant("unchanged", 0, source), 0, _PATIENCE_S)
        _, status, usage = os.wait4(child, 0)
        if status != 0:
            raise RuntimeError(f"the tests {' '.join(arguments)} fail without any mutant")
        return usage.ru_utime + usage.ru_stime

    def survivors(
        self,
        module: str,
        arguments: Sequence[str],
        mutants: Sequence[Mutant],
        cost_s: float,
        tell: Callable[[int], None],
    ) -> list[Mutant]:
        """Those that the tests do not notice, in their order. `tell`: how many are done."""
        most_s = 5 + round(4 * cost_s)  # of a mutant that runs for ever
        waiting, alive = list(mutants), set()
        running: dict[int, _Child] = {}
        done = 0
        while waiting or running:
            while waiting and len(running) < self._jobs:
                slot = min(set(range(self._jobs)) - {child.slot for child in running.values()})
                mutant = waiting.pop(0)
                pid = self._start(module, arguments, mutant, slot, most_s)
                running[pid] = _Child(mutant, time.monotonic(), slot)
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                self._stop_late(running)
                time.sleep(0.005)
                continue
            child = running.pop(pid)
            done += 1
            tell(done)
            if os.waitstatus_to_exitcode(status) in (pytest.ExitCode.OK, _NONE_MATCHED):
                alive.add(child.mutant)
        return [mutant for mutant in mutants if mutant in alive]

    def _stop_late(self, running: dict[int, _Child]) -> None:
        """A mutant may wait for ever: that is noticed too."""
        for pid, child in running.items():
            if time.monotonic() - child.started_s > _PATIENCE_S:
                os.kill(pid, signal.SIGKILL)

    def _start(
        self, module: str, arguments: Sequence[str], mutant: Mutant, slot: int, most_s: int
    ) -> int:
        pid = os.fork()
        if pid:
            return pid
        status = 99
        try:
            resource.setrlimit(resource.RLIMIT_CPU, (most_s, most_s))
            resource.setrlimit(resource.RLIMIT_AS, (_MOST_BYTES, _MOST_BYTES))
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.dup2(null, 2)
            sys.meta_path.insert(0, _Finder(module, mutant.source))
            basetemp = self._directory / str(slot)
            tempfile.tempdir = str(self._directory)
            status = pytest.main([*_PLAIN, f"--basetemp={basetemp}", *arguments])
        finally:
            os._exit(int(status))


class _Finder(importlib.abc.MetaPathFinder):
    """Finds one module, whose source is given."""

    def __init__(self, module: str, source: str) -> None:
        self._module = module
        self._source = source

    def find_spec(
        self, fullname: str, path: object, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._module:
            return None
        file = fullname.replace(".", "/") + ".py"
        return importlib.util.spec_from_file_location(
            fullname, file, loader=_Loader(fullname, file, self._source)
        )


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, fullname: str, path: str, source: str) -> None:
        super().__init__(fullname, path)
        self._source = source

    def get_code(self, fullname: str) -> types.CodeType:
        return compile(self._source, self.path, "exec")
