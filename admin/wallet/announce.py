"""After money moved: tell live sessions and sockets."""

from __future__ import annotations

import structlog

from admin.ports import AdminDeps

_log = structlog.get_logger(__name__)


async def announce(deps: AdminDeps, user_id: str, currency: str) -> None:
    """Tell live sessions that a wallet changed; the money is booked, so nothing may undo it."""
    try:
        await deps.sessions.wallet_changed(user_id, currency)
    except Exception:
        _log.exception("wallet_change_not_announced", user=user_id)
