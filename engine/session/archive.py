"""Ended sessions that this process does not remember, from the store."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from engine.errors import Conflict, Forbidden, NotFound
from engine.media.interface import Role
from engine.metering.ledger import Ledger
from engine.session import views
from engine.session.effects import Ended
from engine.session.grants import Grant, GrantProvider
from engine.session.ports import ReceiptUrl
from engine.session.states import State
from engine.signaling.messages import SessionSummary, Snapshot
from engine.store import tables as t
from engine.store.database import Store, Tx


class Archive:
    """Read-only. A session that runs on another node is not this one's to speak of."""

    def __init__(
        self, store: Store, ledger: Ledger, grants: GrantProvider, receipt_url: ReceiptUrl
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._grants = grants
        self._receipt_url = receipt_url

    async def summary(self, user_id: str | None, session_id: str) -> SessionSummary:
        """How it ended; `user_id` None: staff. Raises session_not_found, not_party, wrong_state."""
        _, grant, ended, role = await self._load(user_id, session_id)
        summary = views.summary(session_id, grant, ended, role, self._receipt_url)
        assert summary is not None
        return summary

    async def snapshot(self, user_id: str, session_id: str) -> Snapshot:
        """Raises session_not_found, not_party, wrong_state."""
        row, grant, ended, role = await self._load(user_id, session_id)
        return views.snapshot_of_row(row, grant, ended, role, self._receipt_url)

    async def _load(
        self, user_id: str | None, session_id: str
    ) -> tuple[sa.Row[Any], Grant, Ended, Role]:
        async with self._store.reading() as tx:
            row = await self._row(tx, session_id)
            grant = await self._grants.grant(tx, row.order_id)
            if grant is None:
                raise NotFound("session_not_found", "There is no such session.")
            total = await self._ledger.session_total(tx, session_id)
        role = Role.CUSTOMER if user_id is None else grant.role_of(user_id)
        if role is None:
            raise Forbidden("not_party", "This is not your session.")
        if row.state != State.ENDED:
            raise Conflict("wrong_state", "The session is not served here at the moment.")
        total_minor = total.captured_minor - total.reversed_minor
        fee_minor = total.fee_minor - total.reversed_fee_minor
        return row, grant, views.ended_of_row(row, total_minor, fee_minor), role

    async def _row(self, tx: Tx, session_id: str) -> sa.Row[Any]:
        query = sa.select(t.sessions).where(t.sessions.c.id == session_id)
        row = (await tx.execute(query)).one_or_none()
        if row is None:
            raise NotFound("session_not_found", "There is no such session.")
        return row
