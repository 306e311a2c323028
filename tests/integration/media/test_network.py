"""What bad networks and hostile senders do to a call: little."""

from __future__ import annotations

import asyncio
import logging
import random
import socket

import aioice.ice
import pytest

from engine.clock import NS_PER_MS, NS_PER_S
from engine.media.ice import Credentials, new_credentials
from engine.media.interface import AcksWithheld, FirstFrame, LegConnected, LegLost, Role
from engine.media.worker import Worker, WorkerConfig
from tests.support.media_call import SESSION, Call, WorkerFactory, call_on
from tests.support.media_packets import binding_request
from tests.support.media_peer import eventually
from tests.support.media_shim import Shim, drop_every, is_media


async def join_through(call: Call, role: Role, shim: Shim, publish: tuple[str, ...] = ()) -> str:
    leg = call.worker.add_leg(SESSION, role)
    call.legs[role] = leg
    offer = shim.between(await call.worker.offer(leg))
    await call.worker.answer(leg, await call.peer(role).answer(offer, publish=publish))
    return leg


def port_of(call: Call) -> int:
    assert isinstance(call.worker, Worker)
    return call.worker.port


async def test_loss_towards_the_customer_is_mended_from_the_ring(call: Call) -> None:
    shim = await call.shim(to_peer=drop_every(12))
    await join_through(call, Role.CUSTOMER, shim)
    await call.join(Role.EXPERT, ("video",))
    call.open()
    await call.customer.wait_frames("video", 60)
    counters = call.worker.counters()
    assert shim.dropped >= 4
    assert counters["packets_resent"] >= 3
    assert counters["nacks_sent"] == 0, "nothing was lost on the expert's side"


async def test_loss_from_the_expert_is_asked_for_again(call: Call) -> None:
    shim = await call.shim(to_worker=drop_every(12))
    await call.join(Role.CUSTOMER)
    await join_through(call, Role.EXPERT, shim, ("video",))
    call.open()
    await call.customer.wait_frames("video", 60)
    counters = call.worker.counters()
    assert shim.dropped >= 4
    assert counters["nacks_sent"] >= 3
    assert counters["rtp_repairs_forwarded"] >= 3


async def test_AcksWithheld_media_stops_after_five_seconds_and_resumes(call: Call) -> None:
    """Override 1: a customer who acknowledges nothing gets nothing more."""
    withhold = True

    def rtcp_only(datagram: bytes) -> bool:
        media_or_control = 128 <= datagram[0] < 192
        return withhold and media_or_control and not is_media(datagram)

    shim = await call.shim(to_worker=rtcp_only)
    await join_through(call, Role.CUSTOMER, shim)
    await call.join(Role.EXPERT, ("audio", "video"))
    call.open()
    await call.customer.wait_frames("video", 5)
    await call.event(AcksWithheld)
    assert call.of(FirstFrame) == []
    await asyncio.sleep(0.2)
    stopped = call.packets_out(Role.CUSTOMER)
    await asyncio.sleep(0.5)
    assert call.packets_out(Role.CUSTOMER) == stopped
    withhold = False
    await call.event(FirstFrame)
    await eventually(lambda: call.packets_out(Role.CUSTOMER) > stopped + 20)


async def test_garbage_and_forged_checks_cost_counters_only(
    call: Call, caplog: pytest.LogCaptureFixture
) -> None:
    await call.connect()
    call.open()
    await call.customer.wait_frames("video", 3)
    dice = random.Random(7)
    target = ("127.0.0.1", port_of(call))
    offer = await call.worker.offer(call.legs[Role.CUSTOMER])
    ufrag = offer.split("a=ice-ufrag:")[1].split("\r\n")[0]
    stranger = new_credentials()
    known = Credentials(ufrag, "x" * 28)
    forged = [
        binding_request(stranger),
        binding_request(known, use_candidate=True),
        binding_request(known, "browser0", fingerprint=False),
    ]
    before = call.worker.counters()
    sent = 0
    with caplog.at_level(logging.WARNING), socket.socket(type=socket.SOCK_DGRAM) as sock:
        for _ in range(40):
            for _ in range(50):
                sock.sendto(dice.randbytes(dice.choice([0, 1, 2, 12, 40, 1200, 1501])), target)
                first = bytes([dice.choice([0, 1, 22, 128, 144])])
                sock.sendto(first + dice.randbytes(60), target)
                sock.sendto(dice.choice(forged), target)
                sent += 3
            await asyncio.sleep(0.005)
    after = call.worker.counters()
    refused = sum(
        after[name] - before[name]
        for name in ("stun_refused", "datagrams_unknown_source", "datagrams_oversize")
    )
    assert refused == sent
    assert after["internal_errors"] == 0
    assert after["dtls_started"] == 2
    assert caplog.records == []
    frames = call.customer.frames["video"]
    await call.customer.wait_frames("video", frames + 10)
    assert call.of(LegLost) == []


async def test_garbage_from_a_legs_own_address_is_dropped(call: Call) -> None:
    """Everything a peer can send without the keys, from the address that the engine trusts."""
    shim = await call.shim()
    await join_through(call, Role.CUSTOMER, shim)
    await call.join(Role.EXPERT, ("audio", "video"))
    call.open()
    await call.customer.wait_frames("video", 3)
    dice = random.Random(8)
    assert shim._transport is not None
    for first in (0, 3, 19, 20, 22, 63, 100, 128, 144, 191, 255):
        for second in (0, 96, 200, 206, 223):
            for size in (0, 10, 12, 40, 1400):
                junk = bytes([first, second]) + dice.randbytes(size)
                shim._transport.sendto(junk, ("127.0.0.1", port_of(call)))
        await asyncio.sleep(0.01)
    counters = call.worker.counters()
    assert counters["srtp_auth_failed"] > 10
    assert counters["srtcp_auth_failed"] > 5
    assert counters["internal_errors"] == 0
    await call.customer.wait_frames("video", call.customer.frames["video"] + 10)


async def test_the_tables_do_not_grow_under_a_flood(call: Call) -> None:
    await call.connect()
    assert isinstance(call.worker, Worker)
    mux = call.worker._mux
    tables = (len(mux._by_address), len(mux._by_ufrag), len(mux._handshakes))
    for port in range(20):
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            for _ in range(10):
                sock.sendto(binding_request(new_credentials()), ("127.0.0.1", port_of(call)))
                sock.sendto(bytes([22]) + bytes(100 + port), ("127.0.0.1", port_of(call)))
    await asyncio.sleep(0.1)
    assert (len(mux._by_address), len(mux._by_ufrag), len(mux._handshakes)) == tables


async def test_a_legs_address_is_not_given_to_another_leg(call: Call) -> None:
    def credentials(offer: str) -> Credentials:
        lines = dict(line.split(":", 1) for line in offer.splitlines() if ":" in line)
        return Credentials(lines["a=ice-ufrag"], lines["a=ice-pwd"])

    first, second = (call.worker.add_leg(SESSION, role) for role in Role)
    owner = credentials(await call.worker.offer(first))
    other = credentials(await call.worker.offer(second))
    loop = asyncio.get_running_loop()
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect(("127.0.0.1", port_of(call)))
        sock.send(binding_request(owner, use_candidate=True))
        await loop.sock_recv(sock, 2000)
        sock.send(binding_request(other, use_candidate=True))
        await eventually(lambda: call.worker.counters()["stun_address_conflicts"] == 1)
        # Once the owner has left, the address is free.
        call.worker.remove_leg(first)
        sock.send(binding_request(other, use_candidate=True))
        await loop.sock_recv(sock, 2000)


async def test_C16_a_change_of_network_keeps_dtls_and_the_first_frame(call: Call) -> None:
    await call.connect(customer=("audio",))
    call.open()
    await call.customer.wait_frames("video", 10)
    for peer, role in ((call.customer, Role.CUSTOMER), (call.expert, Role.EXPERT)):
        leg = call.legs[role]
        before = call.worker.counters()["ice_nominations"]
        offer = await call.worker.offer(leg, ice_restart=True)
        await call.worker.answer(leg, await peer.restart_ice(offer))
        await eventually(lambda n=before: call.worker.counters()["ice_nominations"] > n)
        await call.customer.wait_frames("video", call.customer.frames["video"] + 10)
        await call.expert.wait_frames("audio", call.expert.frames["audio"] + 10)
    assert call.worker.counters()["dtls_started"] == 2
    assert call.of(LegLost) == []
    assert len(call.of(FirstFrame)) == 1


async def test_C16_the_old_path_serves_until_the_new_one_is_nominated(call: Call) -> None:
    """Make before break: while the new network lets nothing through, media take the old one."""
    blocked = gone = False
    old = await call.shim(to_worker=lambda _: gone, to_peer=lambda _: gone)
    new = await call.shim(to_worker=lambda _: blocked, to_peer=lambda _: blocked)
    leg = await join_through(call, Role.CUSTOMER, old, ("audio",))
    await call.join(Role.EXPERT, ("audio", "video"))
    call.open()
    await call.customer.wait_frames("video", 10)
    blocked = True
    offer = new.between(await call.worker.offer(leg, ice_restart=True))
    await call.worker.answer(leg, await call.customer.restart_ice(offer))
    nominations = call.worker.counters()["ice_nominations"]
    await eventually(lambda: new.dropped > 0)
    await call.customer.wait_frames("video", call.customer.frames["video"] + 20)
    await call.expert.wait_frames("audio", call.expert.frames["audio"] + 20)
    assert call.worker.counters()["ice_nominations"] == nominations
    blocked = False
    await eventually(lambda: call.worker.counters()["ice_nominations"] > nominations)
    gone = True
    await call.customer.wait_frames("video", call.customer.frames["video"] + 20)
    await call.expert.wait_frames("audio", call.expert.frames["audio"] + 20)
    assert call.of(LegLost) == []
    assert len(call.of(FirstFrame)) == 1
    assert call.worker.counters()["dtls_started"] == 2


async def test_consent_is_lost_and_healed(
    monkeypatch: pytest.MonkeyPatch, make_worker: WorkerFactory
) -> None:
    monkeypatch.setattr(aioice.ice, "CONSENT_INTERVAL", 0.2)
    monkeypatch.setattr(aioice.ice, "CONSENT_FAILURES", 1000)
    cut = False
    worker = make_worker(WorkerConfig(consent_timeout_ns=700 * NS_PER_MS))
    async with call_on(worker) as call:
        shim = await call.shim(to_worker=lambda _: cut, to_peer=lambda _: cut)
        await join_through(call, Role.CUSTOMER, shim)
        await call.join(Role.EXPERT, ("audio", "video"))
        call.open()
        await call.customer.wait_frames("video", 5)
        cut = True
        lost = await call.event(LegLost)
        assert (lost.role, lost.reason) == (Role.CUSTOMER, "consent")
        stopped = call.packets_out(Role.CUSTOMER)
        await asyncio.sleep(0.3)
        assert call.packets_out(Role.CUSTOMER) == stopped
        cut = False
        await eventually(lambda: len(call.of(LegConnected)) == 3)
        await call.customer.wait_frames("video", call.customer.frames["video"] + 5)


async def test_a_peer_that_moved_without_a_word_is_followed_when_consent_ends(
    monkeypatch: pytest.MonkeyPatch, make_worker: WorkerFactory
) -> None:
    """The nominated path dies while checks come from another: media follow, nothing is lost."""
    monkeypatch.setattr(aioice.ice, "CONSENT_INTERVAL", 0.2)
    monkeypatch.setattr(aioice.ice, "CONSENT_FAILURES", 1000)
    cut = False
    worker = make_worker(WorkerConfig(consent_timeout_ns=3 * NS_PER_S))
    async with call_on(worker) as call:
        shim = await call.shim(to_worker=lambda _: cut, to_peer=lambda _: cut)
        leg_id = await join_through(call, Role.CUSTOMER, shim)
        await call.join(Role.EXPERT, ("audio", "video"))
        call.open()
        await call.customer.wait_frames("video", 5)
        leg = worker._leg(leg_id)
        local, (remote, *_) = leg.ice.current, leg.ice._remote_ufrags.values()
        cut = True
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            sock.connect(("127.0.0.1", port_of(call)))
            here = sock.getsockname()

            def followed() -> bool:
                sock.send(binding_request(local, remote))
                return leg.address == here

            await eventually(followed, 20)
            media = 0
            loop = asyncio.get_running_loop()
            sock.setblocking(False)
            while media < 10:
                media += is_media(await loop.sock_recv(sock, 2000))
        assert call.of(LegLost) == []


@pytest.mark.parametrize("host", ["::1", "::"])
async def test_a_call_over_ipv6(
    monkeypatch: pytest.MonkeyPatch, make_worker: WorkerFactory, host: str
) -> None:
    # Peers leave the loopback addresses out by themselves.
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda **_: ["::1"])
    worker = make_worker(WorkerConfig(host=host, advertised=("::1",)))
    async with call_on(worker) as call:
        await call.connect(customer=("audio",))
        call.open()
        await call.customer.wait_frames("video", 10)
        await call.expert.wait_frames("audio", 10)
        address = worker._leg(call.legs[Role.CUSTOMER]).address
        assert address is not None
        assert address[0] == "::1"


async def test_addresses_that_a_client_cannot_reach_do_no_harm(make_worker: WorkerFactory) -> None:
    """An address for each network: every client finds the one that is its own."""
    config = WorkerConfig(advertised=("192.0.2.1", "2001:db8::1", "127.0.0.1"))
    async with call_on(make_worker(config)) as call:
        await call.connect()
        call.open()
        await call.customer.wait_frames("video", 5)


async def test_a_port_that_a_nat_maps(make_worker: WorkerFactory) -> None:
    nat = await Shim.open(0)
    worker = make_worker(WorkerConfig(advertised_port=nat.port))
    async with call_on(worker) as call:
        nat._worker = ("127.0.0.1", worker.port)
        await call.join(Role.CUSTOMER)
        assert (await call.event(LegConnected)).role is Role.CUSTOMER
        address = worker._leg(call.legs[Role.CUSTOMER]).address
        assert address == ("127.0.0.1", nat.port)
    nat.close()
