"""Published listings as customers see them, and what an order needs to know of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from admin import queries, schemas
from admin.accounts.people import Viewer
from admin.catalogue.content import Content
from admin.catalogue.content import read as read_content
from admin.catalogue.presence import availability
from admin.files import service as file_service
from admin.http.times import money
from admin.ports import AdminDeps
from admin.queries import Row
from engine.metering.tariff import Tariff
from engine.store.database import Tx
from engine.store.market_tables import categories, listing_revisions
from engine.store.tables import experts, listings, orders, users

_MODES = ("video", "audio", "text")
_RUNNING_ORDERS = ("pending_payment", "open", "delivered", "disputed")

EXPERT_COLUMNS = (
    users.c.display_name,
    users.c.photo_file_id,
    experts.c.slug,
    experts.c.headline,
    experts.c.languages,
    experts.c.presence_status,
    experts.c.rating_milli.label("expert_rating_milli"),
    experts.c.review_count,
    experts.c.refusal_count,
    experts.c.completed_orders,
    experts.c.response_count,
    experts.c.response_sum_s,
)


def tariff_view(mode: str, tariff: Tariff) -> schemas.TariffView:
    return schemas.TariffView(
        mode=mode,
        currency=tariff.currency,
        price_minor=tariff.price_minor,
        per_seconds=tariff.per_seconds,
        block_seconds=tariff.block_seconds,
        block_price_minor=tariff.block_price_minor(),
        prepaid_seconds=tariff.prepaid_seconds,
        prepay_minor=tariff.prepay_minor(),
        grace_seconds=tariff.grace_seconds,
    )


def read_tariffs(stored: dict[str, Any]) -> dict[str, Tariff]:
    """The tariffs of a listing by mode, in the order people expect them."""
    return {mode: msgspec.convert(stored[mode], Tariff) for mode in _MODES if mode in stored}


def published() -> sa.Select[Any]:
    """Listings that customers may see: published, of active experts."""
    return (
        sa.select(listings, *EXPERT_COLUMNS, listing_revisions.c.content)
        .join(users, users.c.id == listings.c.expert_id)
        .join(experts, experts.c.user_id == listings.c.expert_id)
        .outerjoin(
            listing_revisions,
            sa.and_(
                listing_revisions.c.listing_id == listings.c.id,
                listing_revisions.c.number == listings.c.published_revision,
            ),
        )
        .where(listings.c.state == "published")
        .where(users.c.state == "active")
        .where(experts.c.active)
    )


async def one(
    deps: AdminDeps, tx: Tx, viewer: Viewer | None, listing_id: str, locale: str | None = None
) -> schemas.Listing | None:
    row = await queries.row(tx, published().where(listings.c.id == listing_id))
    if row is None:
        return None
    return (await views(deps, tx, viewer, [row], locale))[0]


async def views(
    deps: AdminDeps, tx: Tx, viewer: Viewer | None, rows: Sequence[Row], locale: str | None = None
) -> list[schemas.Listing]:
    """As a customer sees them, in their language if the listing has it."""
    mine = await _my_orders(tx, viewer, [row.id for row in rows])
    names = await _category_names(tx, {row.category for row in rows})
    wanted = locale or (viewer.locale if viewer is not None else deps.settings.preset.locales[0])
    return [view(deps, row, mine, names, wanted) for row in rows]


async def _category_names(tx: Tx, slugs: Collection[str]) -> dict[str, dict[str, str]]:
    if not slugs:
        return {}
    c = categories.c
    return await queries.pairs(tx, sa.select(c.slug, c.names).where(c.slug.in_(slugs)))


async def _my_orders(
    tx: Tx, viewer: Viewer | None, listing_ids: Sequence[str]
) -> dict[str, list[schemas.OrderRef]]:
    """The viewer's running orders of these listings (T45), newest first."""
    mine: dict[str, list[schemas.OrderRef]] = {}
    if viewer is None or not listing_ids:
        return mine
    query = (
        sa.select(orders)
        .where(orders.c.customer_id == viewer.id)
        .where(orders.c.listing_id.in_(listing_ids))
        .where(orders.c.state.in_(_RUNNING_ORDERS))
        .order_by(orders.c.created_at_ms.desc(), orders.c.id.desc())
    )
    for row in await tx.execute(query):
        ref = schemas.OrderRef(row.id, row.number, row.mode, row.state)
        mine.setdefault(row.listing_id, []).append(ref)
    return mine


def view(
    deps: AdminDeps,
    row: Row,
    mine: dict[str, list[schemas.OrderRef]],
    names: Mapping[str, Mapping[str, str]],
    locale: str,
) -> schemas.Listing:
    content = content_of(row, row.content)
    shown = locale if locale in content.locales else content.locales[0]
    category = names.get(row.category, {})
    return schemas.Listing(
        id=row.id,
        title=content.title[shown],
        description=content.description[shown],
        category=row.category,
        category_name=category.get(locale) or next(iter(category.values()), row.category),
        kind=row.kind,
        expert=expert_card(deps, row),
        tariffs=[tariff_view(mode, t) for mode, t in read_tariffs(row.tariffs).items()],
        my_orders=mine.get(row.id, []),
        locale=shown,
        locales=content.locales,
        images=[deps.file_links.public_url(image) for image in content.images],
        price=None if row.price_minor is None else money(row.price_minor, row.currency),
        price_from=money(row.price_from_minor, row.currency),
        delivery_days=row.delivery_days,
        requirements=content.requirements,
        file_count=len(content.files),
        link_count=len(content.links),
        order_count=row.order_count,
        rating=stars(row.rating_milli),
    )


def expert_card(deps: AdminDeps, row: Row) -> schemas.ExpertCard:
    """Of a row with `EXPERT_COLUMNS` and the expert's id."""
    now = availability(deps, row.expert_id, row.presence_status)
    return schemas.ExpertCard(
        id=row.expert_id,
        slug=row.slug,
        display_name=row.display_name,
        headline=row.headline,
        languages=row.languages,
        online=now.online,
        status=now.status,
        callable=now.callable,
        photo_url=file_service.public_url(deps, row.photo_file_id),
        rating=stars(row.expert_rating_milli),
        review_count=row.review_count,
        refusal_count=row.refusal_count,
        completed_orders=row.completed_orders,
        response_s=row.response_sum_s // row.response_count if row.response_count else None,
    )


def stars(rating_milli: int) -> float | None:
    """1 to 5 with one decimal, None before the first review."""
    return round(rating_milli / 1_000, 1) if rating_milli else None


def content_of(row: Row, stored: Mapping[str, Any] | None) -> Content:
    """A stored revision; listings that none was stored of have it in their own row."""
    if stored is not None:
        return read_content(stored)
    return Content(
        locales=["en"],
        title={"en": row.title},
        description={"en": row.description},
        category=row.category,
    )
