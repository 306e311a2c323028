"""Finding listings: filters, the orders they can be looked at in, and pages of them.

Words and facets (language, mode) are tokens of `search_text`: PostgreSQL looks them up in a GIN
index over ``array_to_tsvector(string_to_array(search_text, ' '))``, SQLite reads through the rows.
A word finds what it begins. Every order has a partial index of published listings, so a page is
read off it; a cursor is the last key and id of the page before.

PostgreSQL cannot tell beforehand how many listings have a word, and either way of reading is slow
where the other is quick. So it is asked first: the few listings that have rare words are sorted,
while common ones are met soon enough along the order's index.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import TSQUERY

from admin import queries
from admin.catalogue import categories
from admin.catalogue.content import facet, words
from admin.catalogue.listings import published
from admin.http.cursors import Cursor
from admin.ports import AdminDeps
from admin.queries import Row
from engine.store.database import Tx
from engine.store.tables import experts, listings, users

Sort = Literal["new", "popular", "rating", "price"]
MOST_COMPARED = 10
MOST_SORTED = 1_000
"""Of listings that have some words: above that they are common."""
_MOST_WORDS = 8
_l = listings.c
_KEYS: dict[str, sa.Column[int]] = {
    "new": _l.created_at_ms,
    "popular": _l.order_count,
    "rating": _l.rating_milli,
    "price": _l.price_from_minor,
}
_ASCENDING = ("price",)


@dataclass(frozen=True, kw_only=True)
class Filter:
    """What a search asks for; None asks for nothing. `rating_min` in thousandths of a star."""

    q: str | None = None
    kind: str | None = None
    mode: str | None = None
    category: str | None = None
    locale: str | None = None
    language: str | None = None
    price_min: int | None = None
    price_max: int | None = None
    rating_min: int | None = None
    online: bool | None = None
    expert_id: str | None = None


async def page(
    deps: AdminDeps, tx: Tx, wanted: Filter, sort: Sort, *, after: Cursor | None, limit: int
) -> tuple[list[Row], Cursor | None]:
    """Up to `limit` listings and where the next page begins, None at the end."""
    query = await statement(deps, tx, wanted, sort, after=after, limit=limit + 1)
    if query is None:
        return [], None
    rows = list(await queries.rows(tx, query))
    if len(rows) <= limit:
        return rows, None
    last = rows[limit - 1]
    return rows[:limit], Cursor(last._mapping[_KEYS[sort]], last.id)


async def statement(
    deps: AdminDeps, tx: Tx, wanted: Filter, sort: Sort, *, after: Cursor | None, limit: int
) -> sa.Select[Any] | None:
    """Up to `limit` listings that follow `after`, in order; None: nothing can match.

    They are found first, and only then joined with what is shown of their experts: in one join the
    planner may begin with all users.
    """
    query = await _query(deps, tx, wanted)
    beginnings = words(wanted.q or "")[:_MOST_WORDS]
    if wanted.q and wanted.q.strip() and not beginnings:
        return None  # only signs: no word has them
    language = [] if wanted.language is None else [facet("language", wanted.language)]
    everywhere = [
        facet(name, value)
        for name, value in (("mode", wanted.mode), ("locale", wanted.locale))
        if value is not None
    ]
    having = _in_sqlite if deps.store.is_sqlite else _in_index
    if everywhere:  # many have those: the index of words would not help
        query = query.where(_often(having([], everywhere)))
    if beginnings or language:
        tokens = having(beginnings, language)
        few = None if deps.store.is_sqlite else await _few(tx, tokens)
        query = query.where(_often(tokens) if few is None else _l.id.in_(few))
    key = _KEYS[sort]
    ascending = sort in _ASCENDING
    order = (key, _l.id) if ascending else (key.desc(), _l.id.desc())
    if after is not None and ascending:
        here = sa.tuple_(sa.literal(after.at), sa.literal(after.id))
        query = query.where(sa.tuple_(key, _l.id) > here)
    elif after is not None:
        query = query.where(queries.later_than(key, _l.id, after))
    found = query.order_by(*order).limit(limit).subquery("found")
    return published().join(found, found.c.id == _l.id).order_by(*order)


async def _few(tx: Tx, tokens: sa.ColumnElement[bool]) -> list[str] | None:
    """The listings that have them, by the words' index; None: too many to sort."""
    having = sa.select(_l.id).where(_l.state == "published", tokens)
    await _only_bitmaps(tx, True)
    ids = list((await tx.scalars(having.limit(MOST_SORTED + 1))).all())
    await _only_bitmaps(tx, False)
    return None if len(ids) > MOST_SORTED else ids


def _often(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    """The same in a shape that the planner takes for as likely as not."""
    return sa.case((condition, sa.true()), else_=sa.false())


async def _only_bitmaps(tx: Tx, only: bool) -> None:
    """What the planner may use in this transaction: of all indexes only that of words can."""
    others = ("enable_seqscan", "enable_indexscan", "enable_indexonlyscan")
    value = "off" if only else "on"
    await tx.execute(sa.select(*(sa.func.set_config(name, value, True) for name in others)))


async def these(tx: Tx, ids: list[str]) -> list[Row]:
    """Published listings to be compared (P5), in the order asked for."""
    found = {row.id: row for row in await queries.rows(tx, published().where(_l.id.in_(ids)))}
    return [found[one] for one in dict.fromkeys(ids) if one in found]


async def _query(deps: AdminDeps, tx: Tx, wanted: Filter) -> sa.Select[Any]:
    """The ids of listings that can be seen; all conditions but words and facets."""
    # Not a join: each listing on the way asks for its own expert.
    user_state = sa.select(users.c.state).where(users.c.id == _l.expert_id)
    expert_active = sa.select(experts.c.active).where(experts.c.user_id == _l.expert_id)
    seen = sa.and_(user_state.scalar_subquery() == "active", expert_active.scalar_subquery())
    query = sa.select(_l.id).where(
        _l.state == "published",
        _often(seen),
        _l.kind.in_(deps.settings.preset.kinds),
    )
    if wanted.kind is not None:
        query = query.where(_l.kind == wanted.kind)
    if wanted.category is not None:
        slugs = await categories.with_children(tx, wanted.category)
        query = query.where(_l.category.in_(slugs))
    for value, condition in (
        (wanted.price_min, _l.price_from_minor >= (wanted.price_min or 0)),
        (wanted.price_max, _l.price_from_minor <= (wanted.price_max or 0)),
        (wanted.rating_min, _l.rating_milli >= (wanted.rating_min or 0)),
        (wanted.expert_id, _l.expert_id == wanted.expert_id),
    ):
        if value is not None:
            query = query.where(condition)
    if wanted.online is not None:
        online = deps.presence.online_users()
        here = _l.expert_id.in_(online)
        query = query.where(here if wanted.online else sa.not_(here))
    return query


def _in_sqlite(beginnings: list[str], whole: list[str]) -> sa.ColumnElement[bool]:
    text = sa.literal(" ") + _l.search_text + sa.literal(" ")
    return sa.and_(
        *(text.contains(f" {word}", autoescape=True) for word in beginnings),
        *(text.contains(f" {token} ", autoescape=True) for token in whole),
    )


def _in_index(beginnings: list[str], whole: list[str]) -> sa.ColumnElement[bool]:
    # Words are letters and digits, facets are quoted: neither can be anything but a lexeme.
    lexemes = [f"'{word}':*" for word in beginnings]
    lexemes += [f"'{token}'" for token in whole]
    wanted = sa.cast(sa.cast(" & ".join(lexemes), sa.Text), TSQUERY)
    vector = sa.func.array_to_tsvector(sa.func.string_to_array(_l.search_text, sa.text("' '")))
    return vector.op("@@", is_comparison=True)(wanted)
