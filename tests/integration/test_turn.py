"""TURN: the engine's credentials before a real coturn, and whole calls through it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aioice.turn
import pytest
from aioice import stun

from admin.live.ice import IceServers
from engine.clock import SystemClock
from engine.signaling.messages import IceServer
from tests.integration.test_call_flow import begin_call
from tests.support.coturn import SECRET, Coturn, coturn
from tests.support.media_peer import eventually
from tests.support.running_app import CUSTOMER, EXPERT, running_app
from tests.support.virtual_clock import VirtualClock


@pytest.fixture
async def turn(tmp_path: Path) -> AsyncIterator[Coturn]:
    async with coturn(tmp_path) as server:
        yield server


class _Nobody:
    """What receives the datagrams of an allocation."""

    def connection_made(self, transport: object) -> None: ...

    def connection_lost(self, error: Exception | None) -> None: ...

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None: ...


async def allocate(turn: Coturn, username: str, credential: str) -> None:
    """Ask the server for an address and give it back. Raises `stun.TransactionFailed`."""
    transport, _ = await aioice.turn.create_turn_endpoint(
        _Nobody,
        server_addr=("127.0.0.1", turn.port),
        username=username,
        password=credential,
        ssl=False,
        transport="udp",
    )
    transport.close()


def servers(turn: Coturn, secret: str = SECRET, *, expired: bool = False) -> IceServer:
    clock = VirtualClock() if expired else SystemClock()
    return IceServers([turn.url()], secret, clock)("usr_1")[-1]


async def test_credentials_of_the_engine_are_accepted(turn: Coturn) -> None:
    server = servers(turn)
    assert server.username is not None
    assert server.credential is not None
    await allocate(turn, server.username, server.credential)


@pytest.mark.parametrize("flaw", ["expired", "other secret", "other user", "later expiry"])
async def test_expired_and_forged_credentials_are_refused(turn: Coturn, flaw: str) -> None:
    secret = "guessed" if flaw == "other secret" else SECRET
    server = servers(turn, secret, expired=flaw == "expired")
    username, credential = str(server.username), str(server.credential)
    expiry, _, user = username.partition(":")
    if flaw == "other user":
        username = f"{expiry}:usr_2"
    if flaw == "later expiry":
        username = f"{int(expiry) + 86_400}:{user}"
    with pytest.raises(stun.TransactionFailed) as refused:
        await allocate(turn, username, credential)
    assert refused.value.response.error_code == 401


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_call_through_the_relay_is_metered_like_any_other(
    turn: Coturn, tmp_path: Path, transport: str
) -> None:
    """Both parties know no other way; TURN over TCP is how networks without UDP are left."""
    async with (
        running_app(
            tmp_path / "engine", turn_urls=[turn.url(transport)], turn_secret=SECRET
        ) as app,
        app.party(CUSTOMER) as customer,
        app.party(EXPERT) as expert,
    ):
        customer.relayed = expert.relayed = True
        await expert.command("presence.set", status="available")
        order = await customer.order(await app.add_listing(), "video")
        await begin_call(customer, expert, order["id"])
        await customer.wait_for("meter.started")
        assert customer.peer is not None
        await customer.peer.wait_frames("video", 20)
        await customer.peer.wait_frames("audio", 20)
        for party in (customer, expert):
            assert party.peer is not None
            description = party.peer.pc.localDescription.sdp
            kinds = {
                line.split(" typ ")[1].split()[0]
                for line in description.splitlines()
                if line.startswith("a=candidate")
            }
            assert kinds == {"relay"}
            await eventually(lambda user=party.id: f":{user}>" in turn.log)
