"""Suspension on a running engine: sockets, sessions and tokens of one user end, nobody else's."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.integration.test_call_flow import ring
from tests.support.running_app import CUSTOMER, EXPERT, PASSWORD, STAFF, running_app


async def test_a_suspended_experts_session_and_connections_end(tmp_path: Path) -> None:
    async with (
        running_app(tmp_path) as app,
        app.party(CUSTOMER) as customer,
        app.party(EXPERT) as expert,
        app.party(STAFF, connect=False) as staff,
    ):
        order = await customer.order(await app.add_listing(), "text")
        session_id = await ring(customer, expert, order["id"], "text")
        await expert.command("call.accept", session_id=session_id)
        await customer.wait_for("call.accepted")
        status, answer = await staff.post(
            f"/admin/users/{expert.id}/suspend", {"reason": "Paid outside."}
        )
        assert (status, answer["state"]) == (200, "suspended")
        told = await expert.wait_for("error")
        assert told["code"] == "account_suspended"
        ended = await customer.wait_for("session.ended")
        assert ended["session_id"] == session_id
        assert ended["summary"]["reason"] == "terminated"
        assert not app.app.sessions.in_live_session(customer.id)
        async with asyncio.timeout(60):
            while app.app.presence.is_online(expert.id):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        status, refusal = await expert.post("/orders", {"listing_id": "lst_demo_vat"})
        assert (status, refusal["code"]) == (401, "account_suspended")
        login = {"email": EXPERT, "password": PASSWORD}
        status, refusal = await customer.post("/auth/login", login)
        assert (status, refusal["code"]) == (403, "account_suspended")
        assert await customer.available() == 20_000 - 1_200
