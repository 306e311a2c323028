"""GET /categories, /listings, and what experts and moderators do with listings."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from admin import schemas
from admin.catalogue import categories, desk, listings, revisions, search
from admin.catalogue import schemas as bodies
from admin.catalogue.machine import LISTING, Decision, listing_of
from admin.experts import profile
from admin.http import cursors
from admin.http.answers import Answer
from admin.http.bodies import Nothing
from admin.http.calls import ID, Call, Route
from admin.http.cursors import CursorText, Limit, PageQuery
from admin.market.routes import carry_out, move_route, moving
from admin.market.transitions import Done
from engine.errors import BadInput, Conflict, NotFound
from engine.signaling.messages import IdText, Mode
from engine.store.database import Tx

PriceMinor = Annotated[int, Meta(ge=0, le=2**53)]
_N = "{n:[0-9]{1,3}}"


class ListingQuery(bodies.LocaleQuery):
    """`locale`: listings that have it. `text_locale`: shown in it where they have it. `language`:
    of the expert. `ids`: to compare, at most ten with commas between them; nothing else filters
    those."""

    q: bodies.Filter | None = None
    kind: bodies.Filter | None = None
    mode: Mode | None = None
    category: bodies.Filter | None = None
    text_locale: bodies.Locale | None = None
    language: bodies.Filter | None = None
    price_min: PriceMinor | None = None
    price_max: PriceMinor | None = None
    rating_min: Annotated[float, Meta(ge=0, le=5)] | None = None
    online: bool | None = None
    sort: Literal["new", "popular", "rating", "price"] | None = None
    ids: Annotated[str, Meta(max_length=450)] | None = None
    cursor: CursorText | None = None
    limit: Limit = 20


async def list_categories(call: Call[Nothing, bodies.LocaleQuery]) -> Answer:
    locale = call.query.locale or call.deps.settings.preset.locales[0]
    async with call.deps.store.reading() as tx:
        return Answer(200, await categories.tree(tx, locale))


async def list_listings(call: Call[Nothing, ListingQuery]) -> Answer:
    deps, query = call.deps, call.query
    if query.ids is not None:
        return await _compare(call, query.ids)
    wanted = search.Filter(
        q=query.q,
        kind=query.kind,
        mode=query.mode,
        category=query.category,
        locale=query.locale,
        language=query.language,
        price_min=query.price_min,
        price_max=query.price_max,
        rating_min=None if query.rating_min is None else round(query.rating_min * 1_000),
        online=query.online,
    )
    after = cursors.decode(query.cursor)
    sort = query.sort or deps.settings.preset.sort
    async with deps.store.reading() as tx:
        rows, rest = await search.page(deps, tx, wanted, sort, after=after, limit=query.limit)
        items = await listings.views(deps, tx, call.viewer, rows, query.locale or query.text_locale)
    return Answer(200, schemas.ListingPage(items, None if rest is None else cursors.encode(rest)))


async def _compare(call: Call[Nothing, ListingQuery], ids: str) -> Answer:
    try:
        wanted = msgspec.convert(
            [one for one in ids.split(",") if one], Annotated[list[IdText], Meta(max_length=10)]
        )
    except msgspec.ValidationError:
        message = f"At most {search.MOST_COMPARED} ids, with commas between them."
        raise BadInput("invalid_query", message, path="$.ids") from None
    async with call.deps.store.reading() as tx:
        rows = await search.these(tx, wanted)
        wished = call.query.locale or call.query.text_locale
        items = await listings.views(call.deps, tx, call.viewer, rows, wished)
    return Answer(200, schemas.ListingPage(items, None))


async def get_listing(call: Call[Nothing, bodies.LocaleQuery]) -> Answer:
    async with call.deps.store.reading() as tx:
        listing = await listings.one(call.deps, tx, call.viewer, call.id, call.query.locale)
    if listing is None:
        raise NotFound("listing_not_found", "There is no such listing.")
    return Answer(200, listing)


# The expert's ------------------------------------------------------------------------------------


async def list_my_listings(call: Call[Nothing, PageQuery]) -> Answer:
    after = cursors.decode(call.query.cursor)
    async with call.deps.store.reading() as tx:
        page = await desk.page(call.deps, tx, call.user, after=after, limit=call.query.limit)
    return Answer(200, page)


async def get_my_listing(call: Call[Nothing, Nothing]) -> Answer:
    async with call.deps.store.reading() as tx:
        return Answer(200, await desk.one(call.deps, tx, call.user, call.id))


async def create_listing(call: Call[bodies.CreateListing, Nothing]) -> Answer:
    deps, user = call.deps, call.user
    async with deps.store.transaction() as tx:
        await profile.require_expert(deps, tx, user)
        listing_id = await revisions.create(deps, tx, user.id, call.body)
        listing = await desk.one(deps, tx, user, listing_id)
        return await call.claim.settle(tx, Answer(201, listing))


async def _shown(call: Call[Any, Nothing], tx: Tx, _done: Done) -> bodies.MyListing:
    return await desk.one(call.deps, tx, call.user, call.id)


async def _move(call: Call[Any, Nothing], action: str, body: object) -> Answer:
    return await carry_out(call, moving(listing_of(call.id), action, body), _shown)


async def put_listing_file(call: Call[bodies.ListingFile, Nothing]) -> Answer:
    if call.id == "new":  # what a form that was never saved would send
        raise Conflict("listing_not_saved", "Save the listing first, then add its files.")
    return await _move(call, "put_files", revisions.Files(_number(call), call.body.file_id))


async def delete_listing_file(call: Call[Nothing, Nothing]) -> Answer:
    return await _move(call, "put_files", revisions.Files(_number(call)))


def _number(call: Call[Any, Any]) -> int:
    number = int(call.request.match_info["n"])
    if number < 1:
        raise BadInput("file_missing", "Files are numbered from 1.", path="$.n")
    return number


# Staff's -----------------------------------------------------------------------------------------


async def review_listing(call: Call[bodies.ReviewListing, Nothing]) -> Answer:
    body = call.body
    return await _move(call, body.decision, Decision(body.reason, body.revision))


def _mine(method: str, path: str, handler: Any, summary: str, **more: Any) -> Route:
    defaults: dict[str, Any] = {"answer": bodies.MyListing, "refusals": (403, 404, 409)}
    return Route(
        method=method,
        path=path,
        handler=handler,
        summary=summary,
        tag="My listings",
        **(defaults | more),
    )


_action = partial(
    move_route,
    LISTING,
    tag="My listings",
    answer=bodies.MyListing,
    show=_shown,
    refusals=(403, 404, 409),
)


_ONE = f"/listings/{ID}"

ROUTES = (
    Route(
        method="GET",
        path="/categories",
        handler=list_categories,
        summary="The tree of categories",
        tag="Catalogue",
        query=bodies.LocaleQuery,
        answer=bodies.Categories,
        auth="none",
    ),
    Route(
        method="GET",
        path="/listings",
        handler=list_listings,
        summary="Published listings: search, filter, sort, or compare some by their ids",
        tag="Catalogue",
        query=ListingQuery,
        answer=schemas.ListingPage,
        auth="optional",
    ),
    Route(
        method="GET",
        path=_ONE,
        handler=get_listing,
        summary="One published listing, with the viewer's running orders of it",
        tag="Catalogue",
        query=bodies.LocaleQuery,
        answer=schemas.Listing,
        auth="optional",
        refusals=(404,),
    ),
    _mine(
        "GET",
        "/me/listings",
        list_my_listings,
        "The user's own listings in every state, newest first",
        query=PageQuery,
        answer=bodies.MyListingPage,
        refusals=(),
    ),
    _mine("GET", f"/me/listings/{ID}", get_my_listing, "One of them; moderators see everybody's"),
    _mine(
        "POST",
        "/listings",
        create_listing,
        "Save a new listing as a draft",
        body=bodies.CreateListing,
        status=201,
        idempotent=True,
    ),
    _action(
        "edit",
        _ONE,
        "Prices at once; texts after a review, until which the published ones stay",
        method="PATCH",
        idempotent=False,
    ),
    _action(
        "archive",
        _ONE,
        "Archive: hidden for good, orders continue",
        method="DELETE",
        idempotent=False,
    ),
    _action("submit", f"{_ONE}/submit", "To the moderators"),
    _action("pause", f"{_ONE}/pause", "Hide for a while"),
    _action("resume", f"{_ONE}/resume", "Show again"),
    _mine(
        "PUT",
        f"{_ONE}/files/{_N}",
        put_listing_file,
        "Sell an uploaded file as number n of this listing",
        body=bodies.ListingFile,
    ),
    _mine("DELETE", f"{_ONE}/files/{_N}", delete_listing_file, "Sell a file no longer"),
    Route(
        method="POST",
        path=f"{_ONE}/review",
        handler=review_listing,
        summary="Decide about what waits for a review, take down, or restore",
        tag="Moderation",
        body=bodies.ReviewListing,
        answer=bodies.MyListing,
        idempotent=True,
        refusals=(403, 404),
    ),
)
