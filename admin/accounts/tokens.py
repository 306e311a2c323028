"""Tokens that are opaque to their holders: links in mails, and refresh tokens.

The store has only their hashes, so a copy of it opens nothing. Each can be used once. Refresh
tokens that come one from another are a family: using one a second time means that somebody else
has a copy, so it ends the whole family (RFC 9700 section 4.14.2).
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sa

from admin.queries import Row
from engine.clock import Clock
from engine.errors import BadInput
from engine.ids import new_id
from engine.store.database import Tx
from engine.store.market_tables import account_tokens as table

Purpose = Literal["verify_email", "reset_password", "refresh"]

_HOUR_MS = 3_600_000
LIFE_MS: dict[Purpose, int] = {
    "verify_email": 48 * _HOUR_MS,
    "reset_password": _HOUR_MS,
    "refresh": 30 * 24 * _HOUR_MS,
}
_MOST_CHARACTERS = 200


@dataclass(frozen=True)
class Used:
    """The user of a token that was good, and its family."""

    user_id: str
    family: str | None


async def issue(
    tx: Tx, clock: Clock, user_id: str, purpose: Purpose, family: str | None = None
) -> str:
    """A new token; what is out of date of this user's is cleared away. `family` is a refresh
    token's, None begins one."""
    token = secrets.token_urlsafe(32)
    now_ms = clock.wall_ms()
    mine = table.c.user_id == user_id
    await tx.execute(sa.delete(table).where(mine, table.c.expires_at_ms <= now_ms))
    if purpose == "refresh":
        family = family or new_id("fam")
    await tx.execute(
        sa.insert(table).values(
            token_hash=_hash(token),
            user_id=user_id,
            purpose=purpose,
            family=family,
            expires_at_ms=now_ms + LIFE_MS[purpose],
            created_at_ms=now_ms,
        )
    )
    return token


async def use(tx: Tx, clock: Clock, token: str, purpose: Purpose) -> Used:
    """Mark the token used; of two who try at once, one succeeds.

    Raises `BadInput`: `token_invalid` (also used before), `token_expired`. A refresh token that was
    used before ends its family, so commit after that refusal.
    """
    now_ms = clock.wall_ms()
    this = sa.and_(table.c.token_hash == _hash(token), table.c.purpose == purpose)
    fresh = sa.and_(table.c.used_at_ms.is_(None), table.c.expires_at_ms > now_ms)
    used = await tx.execute(
        sa.update(table)
        .where(this, fresh)
        .values(used_at_ms=now_ms)
        .returning(table.c.user_id, table.c.family)
    )
    row = used.one_or_none()
    if row is not None:
        return Used(row.user_id, row.family)
    known = (await tx.execute(sa.select(table).where(this))).one_or_none()
    if known is not None and known.used_at_ms is not None and known.family is not None:
        await end_family(tx, known.family)
    raise _refusal(known)


async def look(tx: Tx, clock: Clock, token: str, purpose: Purpose) -> Used:
    """Whose token it is, as long as it can be used. Raises as `use`."""
    this = sa.and_(table.c.token_hash == _hash(token), table.c.purpose == purpose)
    known = (await tx.execute(sa.select(table).where(this))).one_or_none()
    if known is None or known.used_at_ms is not None or known.expires_at_ms <= clock.wall_ms():
        raise _refusal(known)
    return Used(known.user_id, known.family)


async def family_of(tx: Tx, token: str) -> Used | None:
    """Whose refresh token it is, used or not."""
    query = sa.select(table.c.user_id, table.c.family).where(
        table.c.token_hash == _hash(token), table.c.purpose == "refresh"
    )
    row = (await tx.execute(query)).one_or_none()
    return None if row is None else Used(row.user_id, row.family)


async def end_family(tx: Tx, family: str) -> None:
    await tx.execute(sa.delete(table).where(table.c.family == family))


async def end_all(tx: Tx, user_id: str, *purposes: Purpose) -> None:
    """Void the user's tokens of these purposes, of all without any."""
    query = sa.delete(table).where(table.c.user_id == user_id)
    await tx.execute(query.where(table.c.purpose.in_(purposes)) if purposes else query)


def _hash(token: str) -> str:
    return hashlib.sha256(token[:_MOST_CHARACTERS].encode("utf-8", "replace")).hexdigest()


def _refusal(known: Row | None) -> BadInput:
    if known is None or known.used_at_ms is not None:
        return BadInput("token_invalid", "This was used before, or is no token.", path="$.token")
    return BadInput("token_expired", "This is out of date; ask for a new one.", path="$.token")
