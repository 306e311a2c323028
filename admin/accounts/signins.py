"""A sign-in: an access token for an hour, and a refresh token that gets the next pair."""

from __future__ import annotations

import sqlalchemy as sa

from admin.accounts import consents, tokens
from admin.accounts.people import Viewer, find_active
from admin.accounts.registration import end_sign_ins
from admin.accounts.schemas import LoginAnswer, User
from admin.ports import AdminDeps
from engine.errors import BadInput, Unauthorized
from engine.store.database import Tx
from engine.store.tables import experts, users


async def begin(deps: AdminDeps, tx: Tx, viewer: Viewer, family: str | None = None) -> LoginAnswer:
    """A pair of tokens for a user who has proved to be one."""
    refresh = await tokens.issue(tx, deps.clock, viewer.id, "refresh", family)
    access = deps.tokens.issue_access(viewer.id, sorted(viewer.roles))
    user = await view(deps, tx, viewer)
    return LoginAnswer(access, "Bearer", deps.tokens.ttl_s, user, refresh)


async def refresh(deps: AdminDeps, token: str) -> LoginAnswer:
    """The next pair. Using a token again ends every one that came from the same sign-in.

    Raises `Unauthorized`: `token_invalid`, `token_expired`, `account_suspended`.
    """
    async with deps.store.transaction() as tx:
        try:
            used = await tokens.use(tx, deps.clock, token, "refresh")
        except BadInput as error:
            refusal = Unauthorized(error.code, "Sign in again.")
        else:
            viewer = await find_active(tx, used.user_id)
            if viewer is not None:
                return await begin(deps, tx, viewer, used.family)
            refusal = Unauthorized("account_suspended", "This account is not active.")
    raise refusal  # outside, so that what the re-use ended stays ended


async def end(deps: AdminDeps, token: str, *, everywhere: bool) -> None:
    """Sign out; a token that is none has nothing to end."""
    async with deps.store.transaction() as tx:
        known = await tokens.family_of(tx, token)
        if known is None:
            return
        if not everywhere:
            await tokens.end_family(tx, known.family or "")
            return
        now_ms = deps.clock.wall_ms()
        await tx.execute(
            sa.update(users)
            .where(users.c.id == known.user_id)
            .values(tokens_valid_from_ms=now_ms, updated_at_ms=now_ms)
        )
        await end_sign_ins(tx, known.user_id)
    deps.sockets.dismiss_user(known.user_id, "token_revoked", "Signed out everywhere.")


async def view(deps: AdminDeps, tx: Tx, viewer: Viewer) -> User:
    """The user as they see themselves."""
    query = (
        sa.select(users.c.phone, users.c.photo_file_id, experts.c.presence_status)
        .select_from(users.outerjoin(experts))
        .where(users.c.id == viewer.id)
    )
    row = (await tx.execute(query)).one()
    return User(
        id=viewer.id,
        email=viewer.email,
        display_name=viewer.display_name,
        roles=sorted(viewer.roles),
        locale=viewer.locale,
        presence_status=row.presence_status,
        email_verified=viewer.email_verified,
        timezone=viewer.timezone,
        phone=row.phone,
        photo_file_id=row.photo_file_id,
        permissions=sorted(viewer.permissions),
        consents_due=await consents.due(tx, viewer.id, deps.settings.preset.documents),
    )
