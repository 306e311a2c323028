"""What people do not want to hear, as "type:channel"."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import sqlalchemy as sa

from admin import queries
from admin.notices.catalogue import CATALOGUE
from engine.errors import BadInput
from engine.store.database import Tx, insert_once
from engine.store.market_tables import notification_preferences as table


def is_muted(muted: Collection[str], type_: str, channel: str) -> bool:
    notice = CATALOGUE.get(type_)
    return not (notice and notice.security) and f"{type_}:{channel}" in muted


async def of(tx: Tx, user_ids: Iterable[str]) -> Mapping[str, list[str]]:
    """By user; nobody of those who mute nothing."""
    query = sa.select(table.c.user_id, table.c.muted).where(table.c.user_id.in_([*user_ids]))
    return await queries.pairs(tx, query)


def check(muted: Iterable[str]) -> list[str]:
    """The list, sorted and without repetitions.

    Raises `BadInput`: `unknown_notice`, `cannot_be_muted` (about the account itself).
    """
    wanted = sorted({*muted})
    for entry in wanted:
        type_, _, channel = entry.rpartition(":")
        notice = CATALOGUE.get(type_)
        if notice is None or channel not in notice.channels:
            raise BadInput("unknown_notice", "There is no such notice.", path="$.muted")
        if notice.security:
            raise BadInput(
                "cannot_be_muted", "Notices about the account always come.", path="$.muted"
            )
    return wanted


async def store(tx: Tx, user_id: str, muted: list[str]) -> None:
    if not await insert_once(tx, table, {"user_id": user_id, "muted": muted}):
        await tx.execute(sa.update(table).where(table.c.user_id == user_id).values(muted=muted))
