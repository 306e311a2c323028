"""Favourites and blocks."""

from __future__ import annotations

import sqlalchemy as sa

from admin import queries
from admin.accounts.people import Viewer
from admin.catalogue import listings as shop
from admin.experts import pages
from admin.experts.schemas import Block, Blocks, Mark, Marks
from admin.http.times import rfc3339
from admin.ports import AdminDeps
from engine.errors import Conflict, NotFound
from engine.store.database import Tx, insert_once
from engine.store.market_tables import marks
from engine.store.tables import experts, listings, users

MOST = 500
_m = marks.c


async def has(tx: Tx, user_id: str, kind: str, subject_type: str, subject_id: str) -> bool:
    found = sa.select(_m.user_id).where(*_this(user_id, kind, subject_type, subject_id))
    return await tx.scalar(found) is not None


async def favourites(deps: AdminDeps, tx: Tx, viewer: Viewer) -> Marks:
    """All of them, newest first; what is not shown to customers any more is left out."""
    query = (
        sa.select(marks)
        .where(_m.user_id == viewer.id, _m.kind == "favourite")
        .order_by(_m.at_ms.desc(), _m.subject_id)
        .limit(MOST)
    )
    rows = await queries.rows(tx, query)
    ids = {
        type_: [row.subject_id for row in rows if row.subject_type == type_]
        for type_ in ("expert", "listing")
    }
    found_experts = {}
    if ids["expert"]:
        people = pages.shown().where(experts.c.user_id.in_(ids["expert"]))
        for row in await queries.rows(tx, people):
            found_experts[row.expert_id] = shop.expert_card(deps, row)
    found_listings = {}
    if ids["listing"]:
        offers = await queries.rows(tx, shop.published().where(listings.c.id.in_(ids["listing"])))
        found_listings = {one.id: one for one in await shop.views(deps, tx, viewer, offers)}
    items = [
        Mark(
            type=row.subject_type,
            id=row.subject_id,
            at=rfc3339(row.at_ms),
            expert=found_experts.get(row.subject_id),
            listing=found_listings.get(row.subject_id),
        )
        for row in rows
    ]
    return Marks([item for item in items if item.expert is not None or item.listing is not None])


async def blocks(tx: Tx, user_id: str) -> Blocks:
    """Everybody whom the user has blocked, the latest first."""
    query = (
        sa.select(users.c.id, users.c.display_name, _m.at_ms)
        .join_from(marks, users, users.c.id == _m.subject_id)
        .where(_m.user_id == user_id, _m.kind == "block")
        .order_by(_m.at_ms.desc(), users.c.id)
        .limit(MOST)
    )
    rows = await queries.rows(tx, query)
    return Blocks([Block(row.id, row.display_name, rfc3339(row.at_ms)) for row in rows])


async def add(
    deps: AdminDeps, tx: Tx, user_id: str, kind: str, *, subject_type: str, subject_id: str
) -> None:
    """Raises `NotFound`, `Conflict`: `too_many_marks`, `own_account`."""
    if subject_id == user_id:
        raise Conflict("own_account", "That is you.")
    await _require(tx, subject_type, subject_id)
    count = sa.select(sa.func.count()).where(_m.user_id == user_id, _m.kind == kind)
    if (await tx.scalar(count) or 0) >= MOST:
        raise Conflict("too_many_marks", f"At most {MOST}: remove some first.")
    values = {
        "user_id": user_id,
        "kind": kind,
        "subject_type": subject_type,
        "subject_id": subject_id,
        "at_ms": deps.clock.wall_ms(),
    }
    await insert_once(tx, marks, values)


async def remove(tx: Tx, user_id: str, kind: str, subject_type: str, subject_id: str) -> None:
    await tx.execute(sa.delete(marks).where(*_this(user_id, kind, subject_type, subject_id)))


def _this(
    user_id: str, kind: str, subject_type: str, subject_id: str
) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        _m.user_id == user_id,
        _m.kind == kind,
        _m.subject_type == subject_type,
        _m.subject_id == subject_id,
    )


async def _require(tx: Tx, subject_type: str, subject_id: str) -> None:
    query = {
        "listing": shop.published().where(listings.c.id == subject_id),
        "expert": pages.shown().where(experts.c.user_id == subject_id),
        "user": sa.select(users.c.id).where(users.c.id == subject_id, users.c.state != "erased"),
    }[subject_type]
    if await queries.row(tx, query) is None:
        raise NotFound(f"{subject_type}_not_found", f"There is no such {subject_type}.")
