"""An expert's own listings: as they stand, with what is under review and what may be done."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from admin import queries
from admin.accounts.people import Viewer
from admin.catalogue import listings as shop
from admin.catalogue import machine
from admin.catalogue.machine import LISTING
from admin.catalogue.schemas import FileRef, MyListing, MyListingPage, Revision
from admin.files import service as uploads
from admin.files.schemas import File
from admin.http import cursors
from admin.http.cursors import Cursor
from admin.http.times import money, rfc3339
from admin.market.transitions import possible, situation_of
from admin.ports import AdminDeps
from admin.queries import Row, later_than
from engine.store.database import Tx
from engine.store.market_tables import cases
from engine.store.tables import listings

_l = listings.c


async def page(
    deps: AdminDeps, tx: Tx, viewer: Viewer, *, after: Cursor | None, limit: int
) -> MyListingPage:
    """Newest first."""
    query = sa.select(listings).where(_l.expert_id == viewer.id)
    if after is not None:
        query = query.where(later_than(_l.created_at_ms, _l.id, after))
    query = query.order_by(_l.created_at_ms.desc(), _l.id.desc()).limit(limit + 1)
    rows = await queries.rows(tx, query)
    shown = rows[:limit]
    rest = None
    if len(rows) > limit:
        rest = cursors.encode(Cursor(shown[-1].created_at_ms, shown[-1].id))
    return MyListingPage(await _views(deps, tx, viewer, shown), rest)


async def one(deps: AdminDeps, tx: Tx, viewer: Viewer, listing_id: str) -> MyListing:
    """For its expert, and for staff who moderate. Raises `NotFound("listing_not_found")`."""
    row = await queries.row(tx, sa.select(listings).where(_l.id == listing_id))
    if row is None or (
        row.expert_id != viewer.id and "listings.moderate" not in viewer.permissions
    ):
        raise LISTING.not_found
    return (await _views(deps, tx, viewer, [row]))[0]


async def _views(deps: AdminDeps, tx: Tx, viewer: Viewer, rows: Sequence[Row]) -> list[MyListing]:
    facts = await machine.facts(deps, tx, rows)
    reasons = await _reasons(tx, [row.id for row in rows])
    wanted = [file_id for row in rows for file_id in _content(facts[row.id]).get("files", ())]
    files = {file.id: file for file in await uploads.views(deps, tx, viewer.id, wanted)}
    found = []
    for row in rows:
        situation = situation_of(deps, LISTING, row, facts, viewer.actor)
        found.append(
            MyListing(
                id=row.id,
                kind=row.kind,
                state=row.state,
                published_revision=row.published_revision,
                revision=_revision(deps, row, facts[row.id], files),
                tariffs=[
                    shop.tariff_view(mode, tariff)
                    for mode, tariff in shop.read_tariffs(row.tariffs).items()
                ],
                price=None if row.price_minor is None else money(row.price_minor, row.currency),
                delivery_days=row.delivery_days,
                reason=reasons.get(row.id),
                order_count=row.order_count,
                rating=shop.stars(row.rating_milli),
                actions=possible(LISTING, situation, viewer.actor),
                created_at=rfc3339(row.created_at_ms),
                updated_at=rfc3339(row.updated_at_ms),
            )
        )
    return found


def _content(facts: machine.Facts) -> dict[str, list[str]]:
    return {} if facts.latest is None else facts.latest.content


def _revision(deps: AdminDeps, row: Row, facts: machine.Facts, files: dict[str, File]) -> Revision:
    latest = facts.latest
    content = shop.content_of(row, None if latest is None else latest.content)
    return Revision(
        number=0 if latest is None else latest.number,
        state=row.state if latest is None else latest.state,
        locales=content.locales,
        title=content.title,
        description=content.description,
        category=content.category,
        image_ids=content.images,
        images=[deps.file_links.public_url(image) for image in content.images],
        files=[_file(files[one]) for one in content.files if one in files],
        links=content.links,
        requirements=content.requirements,
    )


def _file(file: File) -> FileRef:
    return FileRef(file.id, file.name, file.type, file.size, file.url)


async def _reasons(tx: Tx, ids: Sequence[str]) -> dict[str, str]:
    """Of staff's last decision about each."""
    c = cases.c
    query = (
        sa.select(c.subject_id, c.reason)
        .where(c.subject_id.in_(ids), c.kind == "listing", c.state == "decided")
        .order_by(c.decided_at_ms)
    )
    return await queries.pairs(tx, query)
