"""Both storages keep the same promises: the local folder, and S3 against a real server of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from admin.files.s3 import Bucket, S3Storage
from admin.files.storage import LocalFolder, Storage

BIG = bytes(range(256)) * 100_000  # more than two parts of an upload


@pytest.fixture(scope="module")
def s3_endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(params=["folder", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "folder":
        return LocalFolder(tmp_path / "files")
    endpoint: str = request.getfixturevalue("s3_endpoint")
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", **keys)
    client.create_bucket(Bucket="uploads")
    bucket = Bucket(
        name="uploads", endpoint=endpoint, access_key_id="test", secret_access_key="test"
    )
    return S3Storage(bucket)


async def chunks(content: bytes, each: int = 1_000_000) -> AsyncIterator[bytes]:
    for at in range(0, len(content), each):
        yield content[at : at + each]


async def read(storage: Storage, key: str, start: int, stop: int) -> bytes:
    return b"".join([chunk async for chunk in storage.open(key, start, stop)])


async def test_what_was_put_is_read_whole_and_in_part(storage: Storage) -> None:
    await storage.put("fil_big", chunks(BIG))
    assert await read(storage, "fil_big", 0, len(BIG)) == BIG
    assert await read(storage, "fil_big", 300, 1_000) == BIG[300:1_000]
    assert await read(storage, "fil_big", 5, 5) == b""


async def test_what_was_deleted_is_gone_and_deleting_again_is_fine(storage: Storage) -> None:
    await storage.put("fil_gone", chunks(b"content"))
    await storage.delete("fil_gone")
    await storage.delete("fil_gone")
    with pytest.raises(FileNotFoundError):
        await read(storage, "fil_gone", 0, 7)


async def test_an_upload_that_breaks_off_leaves_nothing(storage: Storage) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * 1_000
        raise OSError("the client went away")

    with pytest.raises(OSError, match="went away"):
        await storage.put("fil_broken", broken())
    with pytest.raises(FileNotFoundError):
        await read(storage, "fil_broken", 0, 10)


async def test_a_storage_out_of_reach_is_an_os_error() -> None:
    nowhere = Bucket(
        name="x", endpoint="http://127.0.0.1:9", access_key_id="x", secret_access_key="x"
    )
    storage = S3Storage(nowhere, retries=0)
    with pytest.raises(OSError, match="fil_x"):
        await storage.put("fil_x", chunks(b"content"))


async def test_the_folder_keeps_no_part_of_a_cancelled_upload(tmp_path: Path) -> None:
    started = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b"x"
        started.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(LocalFolder(tmp_path).put("fil_cancelled", endless()))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


async def test_the_folder_takes_no_key_that_leads_elsewhere(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a key"):
        await LocalFolder(tmp_path).put("../../etc", chunks(b"x"))
