"""A private PostgreSQL cluster for the tests of this run, on a free port, gone afterwards; many
short runs may share one (`shared`).

Without the server's binaries the tests that need it are skipped, and fail where the environment
says CI. The data directory belongs to user `postgres` when the tests run as root, which the server
refuses.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from engine.store import migrate

_TEMPLATE = "talktime_template"
_SHARED = "TEST_POSTGRES_PORT"
"""Where it is set, a server runs there already and has the template."""
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Cluster:
    """A running server; `url` takes the name of a database."""

    binaries: Path
    data: Path
    port: int
    durable: bool = False
    """Whether a commit waits for the disk; the tests' cluster does not outlive the run."""

    def url(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self.data}"
        if not self.durable:
            options += " -F"  # no fsync
        self._control("start", "-w", "-o", options, "-l", str(self.data / "log"))

    def stop(self, mode: str = "immediate") -> None:
        self._control("stop", "-w", "-m", mode)

    def execute(self, statement: str) -> None:
        """Run one statement in the maintenance database."""
        asyncio.run(self._execute(statement))

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self.url("postgres"))
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    def _control(self, *arguments: str) -> None:
        _run([str(self.binaries / "pg_ctl"), "-D", str(self.data), *arguments])


def find_binaries() -> Path | None:
    """The directory of `initdb`; None without a server installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).resolve().parent if on_path else None


def _run(command: list[str]) -> None:
    if os.geteuid() == 0:
        command = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", *command]
    # A file instead of a pipe: the server would keep a pipe open.
    with tempfile.TemporaryFile() as output:
        done = subprocess.run(command, stdout=output, stderr=output, cwd="/", check=False)
        output.seek(0)
        assert done.returncode == 0, f"{command}: {output.read().decode(errors='replace')}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[Cluster]:
    binaries = find_binaries()
    if binaries is not None and _SHARED in os.environ:
        yield Cluster(binaries, Path(), int(os.environ[_SHARED]))
        return
    if binaries is None:
        message = "no PostgreSQL server installed: these tests were not run"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    with private_cluster(binaries) as cluster:
        yield cluster


@contextlib.contextmanager
def private_cluster(binaries: Path, *, durable: bool = False) -> Iterator[Cluster]:
    """A server with a data directory of its own, both gone afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="talktime-pg-"))
    try:
        if os.geteuid() == 0:
            owner = pwd.getpwnam("postgres")
            os.chown(directory, owner.pw_uid, owner.pw_gid)
        data = directory / "data"
        _run([str(binaries / "initdb"), "-D", str(data), "-U", "postgres", "-A", "trust", "-N"])
        cluster = Cluster(binaries, data, _free_port(), durable)
        cluster.start()
        try:
            yield cluster
        finally:
            with contextlib.suppress(AssertionError):  # a test may have stopped it
                cluster.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def shared(binaries: Path) -> Iterator[None]:
    """Processes that are started meanwhile use one server and one template."""
    with private_cluster(binaries) as cluster:
        _make_template(cluster)
        os.environ[_SHARED] = str(cluster.port)
        try:
            yield
        finally:
            del os.environ[_SHARED]


@pytest.fixture(scope="session")
def postgres_template(postgres_cluster: Cluster) -> Cluster:
    if _SHARED not in os.environ:
        _make_template(postgres_cluster)
    return postgres_cluster


def _make_template(cluster: Cluster) -> None:
    cluster.execute(f"CREATE DATABASE {_TEMPLATE}")
    migrate.upgrade(cluster.url(_TEMPLATE))


@pytest.fixture
def empty_postgres_url(postgres_cluster: Cluster) -> Iterator[str]:
    """The URL of a database without any table."""
    with _database(postgres_cluster, "template1") as url:
        yield url


@pytest.fixture
def postgres_url(postgres_template: Cluster) -> Iterator[str]:
    """The URL of a fresh, migrated PostgreSQL store."""
    with _database(postgres_template, _TEMPLATE) as url:
        yield url


@contextlib.contextmanager
def _database(cluster: Cluster, template: str) -> Iterator[str]:
    name = f"test_{os.getpid()}_{next(_numbers)}"
    cluster.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        yield cluster.url(name)
    finally:
        cluster.execute(f"DROP DATABASE {name} WITH (FORCE)")
