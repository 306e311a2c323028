"""What a user changes of their own account."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from msgspec import UNSET

from admin.accounts import inputs
from admin.accounts.people import Viewer, find_active
from admin.accounts.schemas import EditUser
from admin.files import service as uploads
from admin.ports import AdminDeps
from engine.errors import Unauthorized
from engine.store.database import Tx
from engine.store.tables import users


async def edit(deps: AdminDeps, tx: Tx, viewer: Viewer, body: EditUser) -> Viewer:
    """The user as they are now.

    Raises `BadInput` (`admin.accounts.inputs`, `file_not_usable`) and changes nothing then.
    """
    changed: dict[str, Any] = {}
    if body.display_name is not UNSET:
        changed["display_name"] = inputs.display_name(body.display_name)
    if body.locale is not UNSET:
        changed["locale"] = inputs.locale(body.locale, deps.settings.preset.locales)
    if body.timezone is not UNSET:
        changed["timezone"] = inputs.timezone(body.timezone)
    if body.phone is not UNSET:
        changed["phone"] = None if body.phone is None else inputs.phone(body.phone)
    if body.photo_file_id is not UNSET:
        if body.photo_file_id is not None:
            await uploads.usable(tx, body.photo_file_id, viewer.id, "photo", path="$.photo_file_id")
            await uploads.mark_used(tx, [body.photo_file_id], "user", viewer.id)
        changed["photo_file_id"] = body.photo_file_id
    if changed:
        now_ms = deps.clock.wall_ms()
        await tx.execute(
            sa.update(users)
            .where(users.c.id == viewer.id, users.c.state == "active")
            .values(updated_at_ms=now_ms, **changed)
        )
    now = await find_active(tx, viewer.id)
    if now is None:
        raise Unauthorized("account_suspended", "This account is not active.")
    return now
