"""GET /sessions/{id}/receipt, GET /orders/{id}/receipt: as data, or as a page to print."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Literal

from aiohttp import hdrs, web
from msgspec import Meta, Struct

from admin import schemas
from admin.accounts.people import Viewer, find_active
from admin.http.answers import Answer
from admin.http.bodies import Nothing
from admin.http.calls import ID, Call, Route
from admin.pages import page
from admin.receipts import service
from engine.errors import TalktimeError, Unauthorized
from engine.store.database import Tx


class ReceiptQuery(Struct):
    format: Literal["json", "html"] | None = None
    token: Annotated[str, Meta(max_length=200)] | None = None
    """Of a link that we made: a browser tab sends no bearer token."""


Reply = Answer | web.Response
ReceiptCall = Call[Nothing, ReceiptQuery]


async def session_receipt(call: ReceiptCall) -> Reply:
    async def read(tx: Tx, reader: Viewer) -> Reply:
        receipt = await service.of_session(call.deps, tx, reader.id, call.id)
        if _wants_page(call):
            return page("receipt.html", receipt=receipt, zone=reader.timezone)
        return Answer(200, receipt)

    return await _reply(call, read)


async def order_receipt(call: ReceiptCall) -> Reply:
    async def read(tx: Tx, reader: Viewer) -> Reply:
        receipt = await service.of_order(call.deps, tx, reader.id, call.id)
        if _wants_page(call):
            return page("order_receipt.html", receipt=receipt, zone=reader.timezone)
        return Answer(200, receipt)

    return await _reply(call, read)


async def _reply(call: ReceiptCall, read: Callable[[Tx, Viewer], Awaitable[Reply]]) -> Reply:
    """Who asked for a page gets refusals as a page too."""
    try:
        async with call.deps.store.reading() as tx:
            return await read(tx, await _reader(call, tx))
    except TalktimeError as error:
        if not _wants_page(call):
            raise
        return page("refusal.html", error.status, message=error.message)


async def _reader(call: ReceiptCall, tx: Tx) -> Viewer:
    if call.viewer is not None:
        return call.viewer
    if call.query.token is None:
        raise Unauthorized("token_missing", "Sign in first.")
    user_id = call.deps.receipt_links.user_of(call.request.path, call.query.token)
    reader = await find_active(tx, user_id)
    if reader is None:
        raise Unauthorized("account_suspended", "This account is not active.")
    return reader


def _wants_page(call: ReceiptCall) -> bool:
    if call.query.format is not None:
        return call.query.format == "html"
    accepted = call.request.headers.get(hdrs.ACCEPT, "")
    return "text/html" in accepted and "application/json" not in accepted


def _route(path: str, handler: Callable[[ReceiptCall], Awaitable[Reply]], answer: object) -> Route:
    return Route(
        method="GET",
        path=path,
        handler=handler,
        summary="As data, or with ?format=html as a page to print",
        tag="Receipts",
        query=ReceiptQuery,
        answer=answer,
        auth="optional",
        html=True,
        refusals=(404, 409),
    )


ROUTES = (
    _route(f"/sessions/{ID}/receipt", session_receipt, schemas.Receipt),
    _route(f"/orders/{ID}/receipt", order_receipt, schemas.OrderReceipt),
)
