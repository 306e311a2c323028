"""POST /files, GET and DELETE /files/{id}."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from aiohttp import BodyPartReader, MultipartReader, hdrs, web
from aiohttp.http_exceptions import BadHttpMessage

from admin.accounts.people import Viewer, find_active
from admin.files import recognise, service
from admin.files.schemas import File, OpenQuery, UploadQuery
from admin.http.answers import Answer
from admin.http.bodies import MalformedRequest, Nothing
from admin.http.calls import ID, Call, Reply, Route
from admin.http.problems import problem
from engine.errors import BadInput, Unauthorized, Unavailable
from engine.store.database import Tx

_FIELD_BYTES = 1_000
_MOST_PARTS = 8
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_PRIVATE_CACHE = "private, max-age=3600"

UploadCall = Call[Nothing, UploadQuery]


async def create_file(call: UploadCall) -> Answer:
    purpose: str = call.query.purpose or ""
    name = call.query.name or ""
    content: AsyncIterator[bytes]
    try:
        if call.request.content_type == "multipart/form-data":
            purpose, name, content = await _form(call.request, purpose, name)
        else:
            content = call.request.content.iter_chunked(64 * 1024)
        if not purpose:
            raise BadInput("invalid_query", "Say what the file is for.", path="$.purpose")
        return Answer(201, await service.upload(call.deps, call.user, purpose, name, content))
    except (ValueError, AssertionError, BadHttpMessage):  # what aiohttp makes of a spoilt form
        raise MalformedRequest("malformed_form", "This form cannot be read.") from None
    except TimeoutError:
        raise BadInput("upload_too_slow", "This upload took too long.") from None


async def _form(
    request: web.Request, purpose: str, name: str
) -> tuple[str, str, AsyncIterator[bytes]]:
    """The fields before the file, and the file's own bytes, not read yet."""
    reader = await request.multipart()
    fields = {"purpose": purpose, "name": name}
    for _ in range(_MOST_PARTS):
        part = await reader.next()
        if part is None or isinstance(part, MultipartReader):
            break
        if part.filename is not None or part.name == "file":
            fields["name"] = fields["name"] or part.filename or ""
            return *_checked(fields), _part(part)
        value = await part.read_chunk(_FIELD_BYTES)
        if part.name in fields:
            fields[part.name] = value.decode("utf-8")
        await part.release()
    raise BadInput("file_missing", "The form has no file.", path="$.file")


def _checked(fields: dict[str, str]) -> tuple[str, str]:
    try:
        query = msgspec.convert({k: v for k, v in fields.items() if v}, UploadQuery)
    except msgspec.ValidationError as error:
        raise BadInput("invalid_query", str(error), path="$.purpose") from None
    return query.purpose or "", query.name or ""


async def _part(part: BodyPartReader) -> AsyncIterator[bytes]:
    while chunk := await part.read_chunk(64 * 1024):
        yield chunk


async def get_file(call: Call[Nothing, OpenQuery]) -> Reply:
    """The bytes, whole or a range; by a link that we made, or by whoever may open it."""
    deps = call.deps
    async with deps.store.reading() as tx:
        row = await service.find(tx, await _reader(call, tx), call.id)
    inline = row.purpose in service.PICTURES and not call.query.download
    headers = {
        "Content-Disposition": recognise.disposition(row.name, inline=inline),
        "Accept-Ranges": "bytes",
        "ETag": f'"{row.sha256}"',
        "Cache-Control": _PRIVATE_CACHE if row.purpose in service.PICTURES else "no-store",
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    }
    if call.request.headers.get(hdrs.IF_NONE_MATCH) == headers["ETag"]:
        return web.Response(status=304, headers=headers)
    wanted = _range(call.request, row.size_bytes, headers["ETag"])
    if wanted is None:
        refused = problem(416, "range_not_satisfiable", "The file is not that long.", {})
        refused.headers["Content-Range"] = f"bytes */{row.size_bytes}"
        return refused
    start, stop = wanted
    whole = stop - start == row.size_bytes
    if not whole:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{row.size_bytes}"
    response = web.StreamResponse(status=200 if whole else 206, headers=headers)
    response.content_type = recognise.served_type(row.type)
    response.content_length = stop - start
    return await _send(call, response, start, stop)


async def _send(
    call: Call[Any, Any], response: web.StreamResponse, start: int, stop: int
) -> web.StreamResponse:
    """Nothing is sent before the storage gave the first bytes: until then it may be refused."""
    chunks = call.deps.files.open(call.id, start, stop)
    try:
        first = await anext(chunks, b"")
    except OSError as error:
        raise Unavailable("storage_unavailable", "Files cannot be read now.") from error
    await response.prepare(call.request)
    await response.write(first)
    async for chunk in chunks:
        await response.write(chunk)
    await response.write_eof()
    return response


async def _reader(call: Call[Nothing, OpenQuery], tx: Tx) -> Viewer | None:
    """Who asks; None: whoever was shown a public link. Raises `Unauthorized`."""
    if call.query.token is None:
        if call.viewer is None:
            raise Unauthorized("token_missing", "Sign in first.")
        return call.viewer
    user_id = call.deps.file_links.user_of(call.request.path, call.query.token)
    if not user_id:
        return None
    reader = await find_active(tx, user_id)
    if reader is None:
        raise Unauthorized("account_suspended", "This account is not active.")
    return reader


def _range(request: web.Request, size: int, etag: str) -> tuple[int, int] | None:
    """Start and end of what is wanted (RFC 9110, one range); None: it cannot be satisfied."""
    match = _RANGE.fullmatch(request.headers.get(hdrs.RANGE, ""))
    if match is None or match.group(0) == "bytes=-":
        return 0, size
    if request.headers.get(hdrs.IF_RANGE, etag) != etag:
        return 0, size
    first, last = match.groups()
    if not first:
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(size, int(last) + 1) if last else size
    if last and first and int(last) < int(first):
        return 0, size
    return (start, stop) if start < stop else None


async def delete_file(call: Call[Nothing, Nothing]) -> Answer:
    await service.delete(call.deps, call.user, call.id)
    return Answer(200, {})


ROUTES = (
    Route(
        method="POST",
        path="/files",
        handler=create_file,
        summary="Upload a file: a form with `file`, or its bytes with ?purpose&name",
        tag="Files",
        query=UploadQuery,
        answer=File,
        status=201,
        raw_body=True,
        consumes=("multipart/form-data", "application/octet-stream"),
        refusals=(409,),
    ),
    Route(
        method="GET",
        path=f"/files/{ID}",
        handler=get_file,
        summary="A file's bytes, for whoever may open it; ranges are served",
        tag="Files",
        query=OpenQuery,
        produces="application/octet-stream",
        auth="optional",
        refusals=(404, 416),
    ),
    Route(
        method="DELETE",
        path=f"/files/{ID}",
        handler=delete_file,
        summary="Delete a file of one's own that nothing uses",
        tag="Files",
        refusals=(404, 409),
    ),
)
