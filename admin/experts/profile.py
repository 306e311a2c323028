"""Becoming an expert, and the expert's own profile."""

from __future__ import annotations

import re
import secrets
import unicodedata
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from msgspec import UNSET

from admin import queries
from admin.accounts.people import Viewer
from admin.catalogue import indexing
from admin.experts.schemas import EditExpert, MyExpert
from admin.files import service as uploads
from admin.market import settings
from admin.ports import AdminDeps
from admin.queries import Row
from engine.errors import BadInput, Forbidden, NotFound
from engine.store.database import Tx, insert_once
from engine.store.market_tables import categories, expert_categories
from engine.store.tables import experts, users

_e = experts.c
_COLUMNS = (
    "headline",
    "about",
    "education",
    "experience",
    "skills",
    "languages",
    "active",
)


async def require_expert(deps: AdminDeps, tx: Tx, user: Viewer) -> None:
    """Make the user an expert if they are none yet.

    Raises `Forbidden`: `email_not_verified`, `not_expert` where staff decide who becomes one.
    """
    if await tx.scalar(sa.select(_e.user_id).where(_e.user_id == user.id)) is not None:
        return
    user.require_verified_email()
    terms = await settings.current(deps, tx)
    if terms.expert_applications:
        raise Forbidden("not_expert", "Apply to become an expert first.")
    await become(tx, user.id, user.display_name)


async def become(tx: Tx, user_id: str, name: str, **profile: Any) -> None:
    """Add the expert's profile and role; an expert stays one."""
    values = {"user_id": user_id, "languages": [], **profile}
    slug = _slug(name)
    while not await insert_once(tx, experts, values | {"slug": slug}):
        if await tx.scalar(sa.select(_e.user_id).where(_e.user_id == user_id)) is not None:
            break
        slug = f"{_slug(name)}-{secrets.randbelow(10**6):06}"
    u = users.c
    roles = await tx.scalar(sa.select(u.roles).where(u.id == user_id).with_for_update())
    if "expert" not in (roles or ()):
        granted = [*(roles or ()), "expert"]
        await tx.execute(sa.update(users).where(u.id == user_id).values(roles=granted))


def _slug(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:60] or "expert"


async def mine(deps: AdminDeps, tx: Tx, user_id: str) -> MyExpert:
    """Raises `NotFound("not_expert")`."""
    query = (
        sa.select(experts, users.c.photo_file_id)
        .join(users, users.c.id == _e.user_id)
        .where(_e.user_id == user_id)
    )
    row = await queries.row(tx, query)
    if row is None:
        raise NotFound("not_expert", "You have no expert profile yet.")
    return MyExpert(
        id=row.user_id,
        slug=row.slug,
        headline=row.headline,
        about=row.about,
        education=row.education,
        experience=row.experience,
        skills=row.skills,
        languages=row.languages,
        categories=await category_slugs(tx, user_id),
        photo_file_id=row.photo_file_id,
        photo_url=uploads.public_url(deps, row.photo_file_id),
        active=row.active,
        presence_status=row.presence_status,
    )


async def edit(tx: Tx, user_id: str, body: EditExpert) -> None:
    """Raises `BadInput`: `file_not_usable`, `category_unknown`."""
    given = {name: getattr(body, name) for name in _COLUMNS if getattr(body, name) is not UNSET}
    if given:
        await tx.execute(sa.update(experts).where(_e.user_id == user_id).values(given))
    if body.photo_file_id is not UNSET:
        if body.photo_file_id is not None:
            await uploads.usable(tx, body.photo_file_id, user_id, "photo", path="$.photo_file_id")
            await uploads.mark_used(tx, [body.photo_file_id], "user", user_id)
        photo = sa.update(users).where(users.c.id == user_id)
        await tx.execute(photo.values(photo_file_id=body.photo_file_id))
    if body.categories is not UNSET:
        await set_categories(tx, user_id, body.categories)
    if {"headline", "languages"} & given.keys():
        await indexing.reindex(tx, user_id)


async def category_slugs(tx: Tx, user_id: str) -> list[str]:
    query = (
        sa.select(categories.c.slug)
        .join(expert_categories, expert_categories.c.category_id == categories.c.id)
        .where(expert_categories.c.expert_id == user_id)
        .order_by(categories.c.position, categories.c.slug)
    )
    return list((await tx.scalars(query)).all())


async def set_categories(tx: Tx, user_id: str, slugs: Sequence[str]) -> None:
    """Raises `BadInput("category_unknown")`."""
    query = sa.select(categories.c.slug, categories.c.id).where(categories.c.slug.in_(slugs))
    known = await queries.pairs(tx, query)
    for slug in slugs:
        if slug not in known:
            raise BadInput("category_unknown", f"No such category: {slug}", path="$.categories")
    mine = expert_categories.c.expert_id == user_id
    await tx.execute(sa.delete(expert_categories).where(mine))
    if known:
        rows = [{"expert_id": user_id, "category_id": found} for found in known.values()]
        await tx.execute(sa.insert(expert_categories), rows)


async def row_of(tx: Tx, user_id: str) -> Row:
    """The expert with name and zone. Raises `NotFound("not_expert")`."""
    query = (
        sa.select(experts, users.c.timezone)
        .join(users, users.c.id == _e.user_id)
        .where(_e.user_id == user_id)
    )
    row = await queries.row(tx, query)
    if row is None:
        raise NotFound("not_expert", "You have no expert profile yet.")
    return row
