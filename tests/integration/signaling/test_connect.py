"""CONNECT: who gets in, and what the others are told."""

from __future__ import annotations

import asyncio
import logging

import aiohttp
import jwt
import pytest
import sqlalchemy as sa

from engine.signaling.settings import SignalingSettings
from engine.signaling.standing import Standing
from engine.signaling.tokens import Identity, TokenService
from engine.store.database import Store
from engine.store.tables import users
from tests.support.signaling import (
    SECRET,
    Serializer,
    Site,
    eventually,
    generous,
    running_site,
)

BOTH: list[Serializer] = ["json", "msgpack"]


@pytest.mark.parametrize("serializer", BOTH)
@pytest.mark.parametrize("polling", [False, True])
async def test_a_good_token_connects_over_every_transport(
    site: Site, serializer: Serializer, polling: bool
) -> None:
    client = await site.sign_in(site.customer, serializer, polling=polling)
    assert site.signaling.connection_count == 1
    await client.settle()


@pytest.mark.parametrize("serializer", BOTH)
@pytest.mark.parametrize("token", ["", "garbage", "a.b.c", 7, None, {"x": 1}, "x" * 100_000])
async def test_garbage_is_refused_as_invalid(
    site: Site, serializer: Serializer, token: object
) -> None:
    answer = await site.refused(token, serializer)
    assert answer["code"] == "token_invalid"
    assert site.signaling.connection_count == 0


async def test_an_expired_token_is_refused(site: Site) -> None:
    token = site.tokens.issue_access(site.customer, [], ttl_s=60)
    site.clock.advance(60)
    assert (await site.refused(token))["code"] == "token_expired"


async def test_a_token_for_another_audience_is_refused(site: Site) -> None:
    other = TokenService([SECRET], site.clock, audience="elsewhere")
    token = other.issue_access(site.customer, [])
    assert (await site.refused(token))["code"] == "token_wrong_audience"


async def test_a_token_of_another_key_is_refused(site: Site) -> None:
    foreign = TokenService(["another-secret-of-thirty-two-bytes!!"], site.clock)
    token = foreign.issue_access(site.customer, [])
    assert (await site.refused(token))["code"] == "token_invalid"


async def test_an_unsigned_token_is_refused(site: Site) -> None:
    claims = jwt.decode(
        site.tokens.issue_access(site.customer, []), options={"verify_signature": False}
    )
    assert (await site.refused(jwt.encode(claims, "", "none")))["code"] == "token_invalid"


async def test_a_user_has_a_limited_number_of_devices(store: Store) -> None:
    async with running_site(store, generous(connections_per_user=2)) as site:
        for _ in range(2):
            await site.sign_in(site.customer)
        token = site.tokens.issue_access(site.customer, [])
        assert (await site.refused(token))["code"] == "too_many_devices"
        await site.sign_in(site.expert)  # others are not concerned


async def test_a_closed_device_makes_room_for_another(store: Store) -> None:
    async with running_site(store, generous(connections_per_user=1)) as site:
        first = await site.sign_in(site.customer)
        await first.close()
        await eventually(lambda: site.signaling.connection_count == 0)
        await site.sign_in(site.customer)


async def test_the_server_refuses_more_transports_than_its_bound(store: Store) -> None:
    async with running_site(store, generous(connections_total=1)) as site:
        await site.sign_in(site.customer)
        with pytest.raises(Exception, match="Connection error"):
            await site.sign_in(site.expert)
        assert site.signaling.connection_count == 1


async def test_other_namespaces_are_refused(site: Site) -> None:
    client = site.client()
    with pytest.raises(Exception, match="failed to connect"):
        await client.socket.connect(site.url, namespaces=["/"], transports=["websocket"])


async def test_a_transport_without_a_token_is_closed_in_time(site: Site) -> None:
    async with site.http() as http:
        socket = await http.ws_connect("/socket.io/?EIO=4&transport=websocket")
        assert (await socket.receive_str()).startswith("0")
        site.clock.advance(site.settings.connect_timeout_s + 0.001)
        await site.signaling.settle()
        kinds = {(await socket.receive(timeout=5)).type for _ in range(2)}
        assert aiohttp.WSMsgType.CLOSE in kinds


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://shop.example", True),
        ("https://evil.example", False),
        ("null", False),
        ("own", True),
    ],
)
async def test_pages_of_unknown_origins_are_refused(
    store: Store, origin: str, allowed: bool
) -> None:
    settings = generous(cors_origins=("https://shop.example",))
    async with running_site(store, settings) as site, site.http() as http:
        sent = site.url if origin == "own" else origin
        headers = {"Origin": sent}
        async with http.get("/socket.io/?EIO=4&transport=polling", headers=headers) as answer:
            assert (answer.status == 200) is allowed
            assert (answer.headers.get("Access-Control-Allow-Origin") == sent) is allowed


async def test_an_expired_token_ends_the_connection_politely(site: Site) -> None:
    client = site.client()
    await client.connect(site.tokens.issue_access(site.customer, [], ttl_s=60))
    await site.pass_time(59)
    await client.settle()
    await site.pass_time(1)
    assert (await client.wait_for("error"))["code"] == "token_expired"
    await client.until_closed()
    assert site.sessions.gone[0][0] == site.customer


async def test_an_expired_token_does_not_cut_a_running_session(site: Site) -> None:
    customer = site.client()
    await customer.connect(site.tokens.issue_access(site.customer, [], ttl_s=60))
    expert = await site.sign_in(site.expert)
    session_id = await site.running(customer, expert)
    await site.pass_time(120)
    await customer.ok("message.send", session_id=session_id, client_msg_id="1", body="still here")
    assert await customer.code("presence.subscribe", expert_ids=[]) == "token_expired"
    assert not customer.closed.is_set()
    await customer.ok("session.end", session_id=session_id)
    await site.pass_time(site.settings.expiry_recheck_s)
    await customer.until_closed()
    assert customer.events["error"][0]["code"] == "token_expired"


async def test_the_session_service_hears_of_a_device_that_is_gone(site: Site) -> None:
    client = await site.sign_in(site.customer)
    device = client.device
    await client.close()
    await eventually(lambda: site.sessions.gone)
    assert site.sessions.gone == [(site.customer, device)]


async def test_stop_closes_clients_and_leaves_no_task_and_no_timer(store: Store) -> None:
    before = asyncio.all_tasks()
    async with running_site(store) as site:
        clients = [await site.sign_in(site.customer, serializer) for serializer in BOTH]
        await site.signaling.stop()
        for client in clients:
            await client.until_closed()
        clock = site.clock
    assert clock.armed == 0
    await eventually(lambda: not asyncio.all_tasks() - before)


async def test_a_stopping_server_refuses_newcomers(site: Site) -> None:
    await site.signaling.stop()
    with pytest.raises(Exception, match=r"."):
        await site.sign_in(site.customer)
    assert site.signaling.connection_count == 0


async def test_a_device_that_does_not_read_is_cut_off_and_holds_up_nobody(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    settings = generous(max_backlog_packets=50)
    async with running_site(store, settings) as site, site.http() as http:
        deaf = await http.ws_connect("/socket.io/?EIO=4&transport=websocket")
        token = site.tokens.issue_access(site.expert, [])
        await deaf.send_str(f'40/rt,{{"token":"{token}"}}')
        await eventually(lambda: site.signaling.connection_count == 1)
        with caplog.at_level(logging.WARNING):
            for _ in range(60):  # never gives way to the writer: nothing can drain
                await site.signaling.outbound.to_user(site.expert, "wallet.updated", {"x": 1})
            await site.signaling.settle()
        assert site.signaling.connection_count == 0
        assert "does not read" in caplog.text
        await site.pass_time(site.settings.close_timeout_s)
        await deaf.close()


async def test_defaults_suit_a_person(store: Store) -> None:
    async with running_site(store, SignalingSettings()) as site:
        client = await site.sign_in(site.customer)
        codes = [(await client.ack("nothing", {})).get("code") for _ in range(80)]
        assert codes[:40] == ["unknown_event"] * 40
        last = await client.ack("nothing", {})
        assert last["code"] == "rate_limited"
        assert 0 < last["retry_after"] <= 0.06
        site.clock.advance(last["retry_after"])
        assert (await client.ack("nothing", {}))["code"] == "unknown_event"


async def test_T33_who_sent_too_much_can_still_hang_up(store: Store) -> None:
    async with running_site(store, SignalingSettings()) as site:
        client = await site.sign_in(site.customer)
        while (await client.ack("nothing", {}))["code"] != "rate_limited":
            pass
        for way_out in ("call.cancel", "call.decline", "session.end"):
            answer = await client.ack(way_out, {"session_id": "ses_of_nobody"})
            assert answer["code"] == "session_not_found"
        codes = [(await client.ack("session.end", {}))["code"] for _ in range(30)]
        assert codes[-1] == "rate_limited"


async def test_a_flood_ends_the_connection(store: Store) -> None:
    async with running_site(store, SignalingSettings()) as site:
        client = await site.sign_in(site.customer)
        for _ in range(500):
            await client.socket.emit("typing", {}, namespace="/rt")
        await client.until_closed()
        assert client.events["error"][0]["code"] == "rate_limited"
        assert site.signaling.connection_count == 0


async def suspend(site: Site, user_id: str) -> None:
    async with site.store.transaction() as tx:
        await tx.execute(sa.update(users).where(users.c.id == user_id).values(state="suspended"))


async def test_a_suspended_user_is_refused_and_whoever_is_connected_is_dismissed(
    site: Site,
) -> None:
    client = await site.sign_in(site.customer)
    other = await site.sign_in(site.expert)
    await suspend(site, site.customer)
    site.signaling.dismiss_user(site.customer, "account_suspended", "suspended")
    told = await client.wait_for("error")
    assert told["code"] == "account_suspended"
    await asyncio.wait_for(client.closed.wait(), 10)
    token = site.tokens.issue_access(site.customer, [])
    assert (await site.refused(token))["code"] == "account_suspended"
    await eventually(lambda: site.signaling.connection_count == 1)
    assert not other.closed.is_set()


async def test_a_token_of_before_they_were_voided_is_refused(site: Site) -> None:
    old = site.tokens.issue_access(site.customer, [])
    site.clock.advance(0.001)
    now_ms = site.clock.wall_ms()
    async with site.store.transaction() as tx:
        await tx.execute(
            sa.update(users).where(users.c.id == site.customer).values(tokens_valid_from_ms=now_ms)
        )
    assert (await site.refused(old))["code"] == "token_revoked"
    await site.sign_in(site.customer)  # with a token of this very moment


async def test_a_suspension_while_somebody_connects_is_not_missed(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = Standing.check
    suspended = False

    async def look_then_suspend(standing: Standing, identity: Identity) -> None:
        nonlocal suspended
        await looked(standing, identity)
        if not suspended:
            suspended = True
            await suspend(site, site.customer)
            site.signaling.dismiss_user(site.customer, "account_suspended", "suspended")

    monkeypatch.setattr(Standing, "check", look_then_suspend)
    token = site.tokens.issue_access(site.customer, [])
    assert (await site.refused(token))["code"] == "account_suspended"
    assert site.signaling.connection_count == 0
