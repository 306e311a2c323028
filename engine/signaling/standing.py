"""Whether a user may come in with a token that is good in itself: suspension, a new password."""

from __future__ import annotations

import sqlalchemy as sa

from engine.errors import Unauthorized
from engine.signaling.tokens import Identity
from engine.store.database import Store
from engine.store.tables import users


class Standing:
    """What the store says of a token's user.

    A user whom the store does not know has done nothing wrong: the signature vouches for them.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def check(self, identity: Identity) -> None:
        """Raises `Unauthorized`: `account_suspended`, `token_revoked`; `Unavailable`."""
        query = sa.select(users.c.state, users.c.tokens_valid_from_ms)
        async with self._store.reading() as tx:
            row = (await tx.execute(query.where(users.c.id == identity.user_id))).one_or_none()
        if row is None:
            return
        if row.state != "active":
            raise Unauthorized("account_suspended", "this account is not active")
        check_issued(identity, row.tokens_valid_from_ms)


def check_issued(identity: Identity, valid_from_ms: int) -> None:
    """Raises `Unauthorized("token_revoked")` for a token of before the voiding."""
    if identity.issued_at_ms < valid_from_ms:
        raise Unauthorized("token_revoked", "sign in again")
