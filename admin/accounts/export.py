"""Everything that the store has about one user (GDPR article 15 and 20)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa

from admin.http.times import rfc3339
from engine.store import tables
from engine.store.database import Tx
from engine.store.market_tables import (
    cases,
    consents,
    files,
    listing_revisions,
    marks,
    notification_preferences,
    notifications,
    proposals,
    requests,
    reviews,
)

Where = Callable[[str], sa.ColumnElement[bool]]


def _own(column: sa.Column[Any]) -> Where:
    return lambda user_id: column == user_id


def _party(table: sa.Table) -> Where:
    return lambda user_id: sa.or_(table.c.customer_id == user_id, table.c.expert_id == user_id)


def _within(column: sa.Column[Any], ids: sa.Column[Any], owner: sa.Column[Any]) -> Where:
    return lambda user_id: column.in_(sa.select(ids).where(owner == user_id))


_SECTIONS: Mapping[str, tuple[sa.Table, Where]] = {
    "user": (tables.users, _own(tables.users.c.id)),
    "consents": (consents, _own(consents.c.user_id)),
    "expert": (tables.experts, _own(tables.experts.c.user_id)),
    "listings": (tables.listings, _own(tables.listings.c.expert_id)),
    "listing_revisions": (
        listing_revisions,
        _within(listing_revisions.c.listing_id, tables.listings.c.id, tables.listings.c.expert_id),
    ),
    "orders": (tables.orders, _party(tables.orders)),
    "sessions": (tables.sessions, _party(tables.sessions)),
    "requests": (requests, _own(requests.c.customer_id)),
    "proposals": (proposals, _party(proposals)),
    "reviews": (reviews, _party(reviews)),
    "cases": (cases, _own(cases.c.opened_by)),
    "messages": (tables.messages, _own(tables.messages.c.author_id)),
    "files": (files, _own(files.c.owner_id)),
    "marks": (marks, _own(marks.c.user_id)),
    "accounts": (tables.accounts, _own(tables.accounts.c.owner_id)),
    "entries": (
        tables.entries,
        _within(tables.entries.c.account_id, tables.accounts.c.id, tables.accounts.c.owner_id),
    ),
    "payments": (tables.payments, _own(tables.payments.c.user_id)),
    "notifications": (notifications, _own(notifications.c.user_id)),
    "notification_preferences": (
        notification_preferences,
        _own(notification_preferences.c.user_id),
    ),
}
_WITHHELD = frozenset(
    {
        "password_hash",
        "owner",  # of a session: the node that ran it
        "epoch",
        "search_text",
        "dedupe_key",
        # What staff noted about a case, and who of them.
        "assignee_id",
        "decided_by",
    }
)


async def export(tx: Tx, user_id: str) -> dict[str, list[dict[str, object]]]:
    """Rows by section; instants as RFC 3339 under their name without ``_ms``."""
    return {
        section: [
            _readable(row._asdict())
            for row in await tx.execute(sa.select(table).where(where(user_id)))
        ]
        for section, (table, where) in _SECTIONS.items()
    }


def _readable(row: Mapping[str, Any]) -> dict[str, object]:
    shown: dict[str, object] = {}
    for name, value in row.items():
        if name in _WITHHELD:
            continue
        if name.endswith("_at_ms"):
            shown[name.removesuffix("_ms")] = None if value is None else rfc3339(value)
        else:
            shown[name] = value
    return shown
