"""The terms that hold now, as staff versioned them."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from admin.market.terms import Terms
from admin.ports import AdminDeps
from engine.store.database import Tx
from engine.store.market_tables import settings_versions


async def current(deps: AdminDeps, tx: Tx) -> Terms:
    """The terms of new orders: what staff last decided, else the preset's."""
    newest = sa.select(settings_versions.c.data).order_by(settings_versions.c.version.desc())
    stored = await tx.scalar(newest.limit(1))
    if stored is None:
        return deps.settings.preset.terms
    return msgspec.convert(stored, Terms)
