"""How clients reach the media of a whole engine, and what a change of network costs: nothing."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.audit import audit
from engine.media.interface import Role
from tests.integration.test_call_flow import PER_SECOND, begin_call
from tests.support.media_peer import eventually
from tests.support.party import Party
from tests.support.running_app import CUSTOMER, EXPERT, RunningApp, running_app


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[RunningApp]:
    async with running_app(tmp_path) as app:
        yield app
        report = await audit(app.app.store)
        assert report.ok, report


def nominations(app: RunningApp) -> int:
    return app.app.media.counters()["ice_nominations"]


async def move(app: RunningApp, party: Party, session_id: str) -> None:
    """Ask for an ICE restart, as the client does, and follow the offer on a socket of its own."""
    before, offers = nominations(app), len(party.events["rtc.offer"])
    await party.command("rtc.restart", session_id=session_id)
    offer = await party.wait_for("rtc.offer", offers + 1)
    assert offer["leg_id"] == party.events["rtc.offer"][offers - 1]["leg_id"]
    await eventually(lambda: nominations(app) > before)


async def test_C16_neither_money_nor_media_pause_when_a_client_changes_network(
    app: RunningApp,
) -> None:
    async with app.party(CUSTOMER) as customer, app.party(EXPERT) as expert:
        await expert.command("presence.set", status="available")
        tariff = PER_SECOND | {"price_minor": 10, "prepaid_seconds": 60}
        order = await customer.order(await app.add_listing(**tariff), "video")
        session_id = await begin_call(customer, expert, order["id"])
        await customer.wait_for("meter.started")
        began = time.monotonic()
        for party in (customer, expert):
            await move(app, party, session_id)
            assert customer.peer is not None
            await customer.peer.wait_frames("video", customer.peer.frames["video"] + 20)
        talked_s = time.monotonic() - began
        await customer.command("session.end", session_id=session_id)
        summary = (await customer.wait_for("session.ended"))["summary"]
        # Not one second of the call is missing in the bill: started seconds count whole.
        assert summary["billed_seconds"] >= talked_s
        assert summary["total_minor"] == 10 * summary["billed_seconds"]
        assert not customer.events["meter.paused"]
        assert not customer.events["participant.left"]
        assert app.app.media.counters()["dtls_started"] == 2


async def test_the_configured_addresses_and_port_are_what_clients_are_told(tmp_path: Path) -> None:
    settings = {
        "media_host": "::",
        "media_addresses": "192.0.2.7, 2001:db8::7",
        "media_advertised_port": 3478,
    }
    async with (
        running_app(tmp_path, **settings) as app,
        app.party(CUSTOMER) as customer,
        app.party(EXPERT) as expert,
    ):
        await expert.command("presence.set", status="available")
        order = await customer.order(await app.add_listing(), "video")
        invited = await customer.command("call.invite", order_id=order["id"], mode="video")
        await customer.command("session.join", session_id=invited["session_id"])
        offer = (await customer.wait_for("rtc.offer"))["sdp"]
        await eventually(lambda: not customer._answering)
    lines = [line.split() for line in offer.splitlines() if line.startswith("a=candidate:")]
    told = {(words[2], words[4], words[5]) for words in lines}
    assert told == {
        (transport, host, "3478")
        for transport in ("udp", "tcp")
        for host in ("192.0.2.7", "2001:db8::7")
    }


async def test_every_worker_is_told_by_a_port_of_its_own(tmp_path: Path) -> None:
    settings = {"media_workers": 3, "media_advertised_port": 40_000}
    async with running_app(tmp_path, **settings) as app:
        media, ports = app.app.media, set()
        for number in range(3):
            session_id = f"ses_{number}"
            media.add_session(session_id, one_way=False, video=True)
            offer = await media.offer(media.add_leg(session_id, Role.CUSTOMER))
            ports |= set(re.findall(r" (\d+) typ host", offer))
        for number in range(3):
            media.close_session(f"ses_{number}")
    assert ports == {"40000", "40001", "40002"}
