"""From an event to rows in `notifications`, in the transaction of the event itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Any

import sqlalchemy as sa

from admin.notices import preferences
from admin.notices.catalogue import CATALOGUE, COLUMNS, INAPP, Notice
from admin.ports import AdminDeps
from admin.queries import Row
from engine.ids import new_id
from engine.store.database import Tx, insert_once
from engine.store.market_tables import notifications

After = Callable[[], Awaitable[None]]


async def notify(
    deps: AdminDeps, tx: Tx, event: str, row: Row, *, actor_id: str, data: dict[str, Any]
) -> list[After]:
    """Note that people are to be told; what to run after the commit so that they hear at once.

    `row` is what the event is about. Channels other than the socket are worked off by the delivery
    task from the rows written here, so a crash in between loses nothing. What the recipient muted
    is not written.
    """
    notice = CATALOGUE.get(event)
    if notice is None:
        return []
    people = _recipients(notice, row, actor_id)
    muted = await preferences.of(tx, people)
    after: list[After] = []
    now_ms = deps.clock.wall_ms()
    for user_id in people:
        channels = _heard(notice, event, muted.get(user_id, ()))
        if not channels:
            continue
        about = {"type": event, "subject_id": row.id, "user_id": user_id, "data": data}
        stored = _row(now_ms, about, channels)
        await tx.execute(sa.insert(notifications).values(stored))
        after.append(_teller(deps, stored))
    return after


async def remind(
    deps: AdminDeps,
    tx: Tx,
    event: str,
    row: Row,
    *,
    send_at_ms: int,
    key: str,
    data: dict[str, Any],
) -> None:
    """Have the people of the catalogue told of `event` at a later moment.

    `key` names the cause, at most 110 characters: a reminder that waits under the same key is
    moved to the new moment instead of doubled; one that was sent already is left alone. What the
    reader has muted by then is not sent. `forget` takes it back.
    """
    notice = CATALOGUE[event]
    for user_id in _recipients(notice, row, ""):
        about = {"type": event, "subject_id": row.id, "user_id": user_id, "data": data}
        stored = _row(deps.clock.wall_ms(), about, notice.channels) | {
            "dedupe_key": f"{key}:{user_id}",
            "channels": dict.fromkeys(notice.channels, "scheduled"),
            "send_at_ms": send_at_ms,
            "due_at_ms": send_at_ms,
        }
        if not await insert_once(tx, notifications, stored):
            moved = {name: stored[name] for name in ("send_at_ms", "due_at_ms", "data")}
            await tx.execute(
                sa.update(notifications)
                .where(notifications.c.dedupe_key == stored["dedupe_key"], _WAITING)
                .values(moved)
            )


async def forget(tx: Tx, subject_id: str, *events: str) -> None:
    """Take back the reminders of these kinds that wait: their cause is gone."""
    n = notifications.c
    await tx.execute(
        sa.delete(notifications)
        .where(n.subject_id == subject_id, n.type.in_(events))
        .where(n.dedupe_key.is_not(None), _WAITING)
    )


_WAITING = sa.and_(notifications.c.attempts == 0, notifications.c.due_at_ms.is_not(None))
"""Nobody has begun to send it."""


def _recipients(notice: Notice, row: Row, actor_id: str) -> list[str]:
    found = row._mapping
    people: dict[str, None] = {}
    for to in notice.to:
        if to == "counterparty":
            people |= dict.fromkeys((found["customer_id"], found["expert_id"]))
        elif to == "members":
            people |= dict.fromkeys((found["opened_by"], *found["data"].get("members", ())))
        else:
            people[found[COLUMNS.get(to, f"{to}_id")]] = None
    return [user_id for user_id in people if user_id and user_id != actor_id]


def _heard(notice: Notice, event: str, muted: Collection[str]) -> list[str]:
    return [one for one in notice.channels if not preferences.is_muted(muted, event, one)]


def _row(now_ms: int, about: dict[str, Any], channels: Collection[str]) -> dict[str, Any]:
    waiting = [channel for channel in channels if channel != INAPP]
    shown = {INAPP: "sent"} if INAPP in channels else {}
    return {
        "id": new_id("ntf"),
        **about,
        "subject_type": about["type"].partition(".")[0],
        "channels": shown | dict.fromkeys(waiting, "scheduled"),
        "send_at_ms": now_ms,
        "due_at_ms": now_ms if waiting else None,
        # What is not in the inbox does not wait to be read there.
        "read_at_ms": None if shown else now_ms,
        "created_at_ms": now_ms,
    }


def _teller(deps: AdminDeps, stored: dict[str, Any]) -> After:
    async def tell() -> None:
        if stored["due_at_ms"] is not None:
            deps.delivery.wake()
        if INAPP in stored["channels"]:
            await deps.outbound.to_user(stored["user_id"], "notification.created", pushed(stored))

    return tell


def pushed(stored: Any) -> dict[str, object]:
    """What `notification.created` says of a row."""
    members = ("id", "type", "subject_type", "subject_id", "data")
    return {name: stored[name] for name in members}
