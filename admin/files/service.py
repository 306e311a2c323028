"""Files of users: taking them in, using them elsewhere, opening them.

An upload is staged in a temporary file while it is counted and hashed, recognised, stored, and
only then told to the database: a row never lacks its bytes. What a crash in between leaves is an
object that nothing knows of.
"""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO

import sqlalchemy as sa

from admin import queries
from admin.accounts.people import Viewer
from admin.files import recognise
from admin.files.access import may_open
from admin.files.schemas import File
from admin.files.storage import CHUNK_BYTES
from admin.http.bodies import BodyTooLarge
from admin.http.times import rfc3339
from admin.ports import AdminDeps
from admin.queries import Row
from engine.errors import BadInput, Conflict, NotFound, Unavailable
from engine.ids import new_id
from engine.store.database import Tx
from engine.store.market_tables import file_uses, files
from engine.store.tables import users

_MB = 1_000_000
LIMIT_BYTES = {"photo": 8 * _MB, "image": 12 * _MB, "attachment": 25 * _MB, "goods": 250 * _MB}
PICTURES = {"photo": 1_024, "image": 2_048}
"""Purposes that take pictures only: their longest side in pixels."""
UPLOAD_WITHIN_S = 900

# Decoding a picture takes memory: two at once.
_decoders = ThreadPoolExecutor(2, thread_name_prefix="pictures")


@dataclass
class _Staged:
    file: IO[bytes]
    size_bytes: int
    sha256: str
    type: str

    async def chunks(self) -> AsyncIterator[bytes]:
        await asyncio.to_thread(self.file.seek, 0)
        while chunk := await asyncio.to_thread(self.file.read, CHUNK_BYTES):
            yield chunk


async def upload(
    deps: AdminDeps, owner: Viewer, purpose: str, name: str, content: AsyncIterator[bytes]
) -> File:
    """Take in a file whole.

    Raises `BodyTooLarge("file_too_large")`, `BadInput`: `file_empty`, `not_an_image`,
    `image_too_large`; `Conflict("quota_exceeded")`, `Unavailable("storage_unavailable")`.
    """
    async with deps.store.reading() as tx:
        await _check_quota(deps, tx, owner.id, 0)
    with tempfile.TemporaryFile() as file:
        async with asyncio.timeout(UPLOAD_WITHIN_S):
            staged = await _stage(file, content, LIMIT_BYTES[purpose])
        if purpose in PICTURES:
            staged = await _picture(staged, PICTURES[purpose])
        row = {
            "id": new_id("fil"),
            "owner_id": owner.id,
            "purpose": purpose,
            "name": recognise.safe_name(name),
            "type": staged.type,
            "size_bytes": staged.size_bytes,
            "sha256": staged.sha256,
            "state": "ready",
            "created_at_ms": deps.clock.wall_ms(),
        }
        try:
            await deps.files.put(str(row["id"]), staged.chunks())
        except OSError as error:
            raise Unavailable("storage_unavailable", "Files cannot be stored now.") from error
    try:
        async with deps.store.transaction() as tx:
            # One upload of a user at a time is counted.
            await tx.execute(sa.select(users.c.id).where(users.c.id == owner.id).with_for_update())
            await _check_quota(deps, tx, owner.id, staged.size_bytes)
            stored = (await tx.execute(sa.insert(files).values(row).returning(*files.c))).one()
    except BaseException:
        await asyncio.shield(deps.files.delete(str(row["id"])))
        raise
    return view(deps, owner.id, stored)


async def _check_quota(deps: AdminDeps, tx: Tx, owner_id: str, more_bytes: int) -> None:
    f = files.c
    used = await tx.scalar(
        sa.select(queries.total(f.size_bytes)).where(f.owner_id == owner_id, f.state == "ready")
    )
    quota_bytes = deps.settings.files_quota_bytes
    if (used or 0) + max(more_bytes, 1) > quota_bytes:
        raise Conflict(
            "quota_exceeded", f"All your files together may have {quota_bytes // _MB} MB."
        )


async def _stage(file: IO[bytes], content: AsyncIterator[bytes], limit_bytes: int) -> _Staged:
    digest, size, head = hashlib.sha256(), 0, b""
    async for chunk in content:
        size += len(chunk)
        if size > limit_bytes:
            raise BodyTooLarge("file_too_large", f"At most {limit_bytes // _MB} MB.")
        digest.update(chunk)
        if len(head) < recognise.HEAD_BYTES:
            head = (head + chunk)[: recognise.HEAD_BYTES]
        await asyncio.to_thread(file.write, chunk)
    if not size:
        raise BadInput("file_empty", "This file is empty.")
    type_ = await asyncio.to_thread(recognise.type_of, head)
    return _Staged(file, size, digest.hexdigest(), type_)


async def _picture(staged: _Staged, longest_px: int) -> _Staged:
    """The picture alone, encoded anew, in place of what was sent."""

    def clean() -> tuple[bytes, str]:
        staged.file.seek(0)
        cleaned, type_ = recognise.clean_image(staged.file.read(), longest_px=longest_px)
        staged.file.seek(0)
        staged.file.truncate()
        staged.file.write(cleaned)
        return cleaned, type_

    cleaned, type_ = await asyncio.get_running_loop().run_in_executor(_decoders, clean)
    return _Staged(staged.file, len(cleaned), hashlib.sha256(cleaned).hexdigest(), type_)


def view(deps: AdminDeps, user_id: str, row: Row) -> File:
    return File(
        id=row.id,
        purpose=row.purpose,
        name=row.name,
        type=row.type,
        size=row.size_bytes,
        sha256=row.sha256,
        url=deps.file_links.url(user_id, row.id),
        created_at=rfc3339(row.created_at_ms),
    )


# For other areas ----------------------------------------------------------------------------------


async def usable(tx: Tx, file_id: str, owner_id: str, purpose: str, *, path: str = "$") -> Row:
    """The stored file, if it is the user's own, of that purpose and still there.

    Raises `BadInput("file_not_usable")`.
    """
    query = sa.select(files).where(
        files.c.id == file_id,
        files.c.owner_id == owner_id,
        files.c.purpose == purpose,
        files.c.state == "ready",
    )
    row = await queries.row(tx, query)
    if row is None:
        raise BadInput("file_not_usable", "Upload this file first, for this use.", path=path)
    return row


async def attach(
    tx: Tx, file_ids: Sequence[str], owner_id: str, subject_type: str, subject_id: str
) -> None:
    """Let the parties of a ``conversation``, ``request`` or ``case`` open these attachments.

    Raises `BadInput("file_not_usable")`.
    """
    for file_id in file_ids:
        await usable(tx, file_id, owner_id, "attachment", path="$.files")
    await mark_used(tx, file_ids, subject_type, subject_id)


async def mark_used(tx: Tx, file_ids: Sequence[str], subject_type: str, subject_id: str) -> None:
    """Note where files are used; from now on their owner cannot delete them."""
    known = sa.select(file_uses.c.file_id).where(
        file_uses.c.file_id.in_(file_ids),
        file_uses.c.subject_type == subject_type,
        file_uses.c.subject_id == subject_id,
    )
    noted = set((await tx.scalars(known)).all())
    for file_id in dict.fromkeys(file_ids):
        if file_id not in noted:
            use = {"file_id": file_id, "subject_type": subject_type, "subject_id": subject_id}
            await tx.execute(sa.insert(file_uses).values(use))


def link(deps: AdminDeps, viewer_id: str, file_id: str) -> str:
    """A path that opens the file for this user for some minutes, if they may open it then."""
    return deps.file_links.url(viewer_id, file_id)


def public_url(deps: AdminDeps, file_id: str | None) -> str | None:
    """A path that shows a photo or a listing's picture to everybody, for about an hour."""
    return None if file_id is None else deps.file_links.public_url(file_id)


async def views(deps: AdminDeps, tx: Tx, viewer_id: str, file_ids: Sequence[str]) -> list[File]:
    """The files as this user sees them, in the order asked for; gone ones are left out."""
    if not file_ids:
        return []
    query = sa.select(files).where(files.c.id.in_(file_ids), files.c.state == "ready")
    found = {row.id: row for row in await queries.rows(tx, query)}
    return [view(deps, viewer_id, found[file_id]) for file_id in file_ids if file_id in found]


# Opening and deleting -----------------------------------------------------------------------------


async def find(tx: Tx, viewer: Viewer | None, file_id: str) -> Row:
    """The file, for a user or, by a public link, for everybody. Raises `NotFound`."""
    query = sa.select(files).where(files.c.id == file_id, files.c.state == "ready")
    row = await queries.row(tx, query)
    if row is not None:
        allowed = row.purpose in PICTURES if viewer is None else await may_open(tx, viewer, row)
        if allowed:
            return row
    raise NotFound("file_not_found", "There is no such file.")


async def delete(deps: AdminDeps, owner: Viewer, file_id: str) -> None:
    """Delete a file that nothing uses. Raises `NotFound`, `Conflict("file_in_use")`."""
    async with deps.store.transaction() as tx:
        f = files.c
        query = sa.select(f.id).where(f.id == file_id, f.owner_id == owner.id, f.state == "ready")
        if await tx.scalar(query.with_for_update()) is None:
            raise NotFound("file_not_found", "There is no such file.")
        used = sa.select(file_uses.c.file_id).where(file_uses.c.file_id == file_id)
        if await tx.scalar(used.limit(1)) is not None:
            raise Conflict("file_in_use", "This file is in use.")
        await tx.execute(sa.update(files).where(f.id == file_id).values(state="deleted"))
    await deps.files.delete(file_id)
