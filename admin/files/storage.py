"""Where uploaded bytes are kept: a local folder, or by configuration an S3-compatible service."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO, Protocol

CHUNK_BYTES = 256 * 1024
_KEY = re.compile(r"[a-z0-9_]{4,40}")


class Storage(Protocol):
    """Objects by key. A key is a file's id; what was put is never changed, only deleted."""

    async def put(self, key: str, chunks: AsyncIterator[bytes]) -> None:
        """Store all chunks; afterwards the object is there whole and survives a power cut.

        A failure, of the iterator too, leaves nothing behind. Raises `OSError`.
        """
        ...

    def open(self, key: str, start: int, stop: int) -> AsyncIterator[bytes]:
        """The bytes from `start` up to `stop`, in chunks. Raises `FileNotFoundError`, `OSError`."""
        ...

    async def delete(self, key: str) -> None:
        """Deleting what is not there is fine."""
        ...

    async def close(self) -> None: ...


class LocalFolder:
    """Objects as files of a folder that nothing serves.

    Names are ids, never what a user chose. Written beside, synced, and renamed into place.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def put(self, key: str, chunks: AsyncIterator[bytes]) -> None:
        path = self._path(key)
        part = path.with_suffix(".part")
        file = await asyncio.to_thread(_create, part)
        try:
            async for chunk in chunks:
                await asyncio.to_thread(file.write, chunk)
            await asyncio.to_thread(_publish, file, part, path)
        except BaseException:
            file.close()
            part.unlink(missing_ok=True)
            raise

    async def open(self, key: str, start: int, stop: int) -> AsyncIterator[bytes]:
        file = await asyncio.to_thread(_open_at, self._path(key), start)
        try:
            left = stop - start
            while left > 0:
                chunk = await asyncio.to_thread(file.read, min(left, CHUNK_BYTES))
                if not chunk:
                    raise OSError(f"{key} is shorter than it was")
                left -= len(chunk)
                yield chunk
        finally:
            file.close()

    async def delete(self, key: str) -> None:
        await asyncio.to_thread(self._path(key).unlink, missing_ok=True)

    async def close(self) -> None:
        return

    def _path(self, key: str) -> Path:
        if _KEY.fullmatch(key) is None:
            raise ValueError(f"not a key: {key!r}")
        return self._folder / key[-2:] / key


def _create(part: Path) -> IO[bytes]:
    part.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")


def _open_at(path: Path, start: int) -> IO[bytes]:
    file = path.open("rb")
    file.seek(start)
    return file


def _publish(file: IO[bytes], part: Path, path: Path) -> None:
    file.flush()
    os.fsync(file.fileno())
    file.close()
    part.rename(path)
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
