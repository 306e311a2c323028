"""Objects in a bucket of an S3-compatible service."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta

import obstore
from obstore.exceptions import BaseError
from obstore.exceptions import NotFoundError as Missing
from obstore.store import S3Store


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """`endpoint`: empty for AWS itself. Without keys the environment's own credentials are used."""

    name: str
    region: str = "us-east-1"
    endpoint: str = ""
    access_key_id: str = ""
    secret_access_key: str = field(default="", repr=False)
    prefix: str = "files/"


class S3Storage:
    """Implements `admin.files.storage.Storage`. Big objects go up in parts, ten MB at a time."""

    def __init__(self, bucket: Bucket, *, retries: int = 3) -> None:
        self._prefix = bucket.prefix
        keys: dict[str, str] = {}
        if bucket.access_key_id:
            keys = {
                "access_key_id": bucket.access_key_id,
                "secret_access_key": bucket.secret_access_key,
            }
        if bucket.endpoint:
            keys["endpoint"] = bucket.endpoint
        self._store = S3Store(
            bucket.name,
            region=bucket.region,
            virtual_hosted_style_request=False,
            client_options={
                "allow_http": bucket.endpoint.startswith("http://"),
                "connect_timeout": timedelta(seconds=5),
                "timeout": timedelta(seconds=120),
            },
            retry_config={"max_retries": retries, "retry_timeout": timedelta(seconds=60)},
            **keys,  # type: ignore[arg-type]
        )

    async def put(self, key: str, chunks: AsyncIterator[bytes]) -> None:
        with _as_os_error(key):
            await obstore.put_async(
                self._store, self._prefix + key, chunks, chunk_size=10 * 1024 * 1024
            )

    async def open(self, key: str, start: int, stop: int) -> AsyncIterator[bytes]:
        if stop <= start:
            return
        with _as_os_error(key):
            found = await obstore.get_async(
                self._store, self._prefix + key, options={"range": (start, stop)}
            )
            async for chunk in found.stream():
                yield bytes(chunk)

    async def delete(self, key: str) -> None:
        with _as_os_error(key), contextlib.suppress(Missing, FileNotFoundError):
            await obstore.delete_async(self._store, self._prefix + key)

    async def close(self) -> None:
        return


class _as_os_error(contextlib.AbstractContextManager[None]):
    """What the client raises, as `Storage` promises it."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, Missing):
            raise FileNotFoundError(self._key) from error
        if isinstance(error, BaseError):
            raise OSError(f"{self._key}: {error}") from error
