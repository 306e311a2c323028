"""ICE over TCP: what a connection may do, and a call over it."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator

import pytest
import uvloop
from aioice import stun

from engine.errors import Unavailable
from engine.media import ice, limits
from engine.media.counters import new_counters
from engine.media.ice import Address, Credentials, new_credentials
from engine.media.interface import FirstFrame, LegConnected, LegLost, Role
from engine.media.sockets import open_socket
from engine.media.tcp import StreamServer
from engine.media.worker import Worker, WorkerConfig
from tests.support.media_call import SESSION, Call, WorkerFactory, call_on
from tests.support.media_packets import binding_request
from tests.support.media_peer import eventually
from tests.support.media_stream import Bridge, TcpClient, frame, open_streams

CHECK = binding_request(new_credentials())


class Rig:
    """A server without a media plane behind it: a binding request is kept if `keeping`."""

    def __init__(self, *, keeping: bool = True) -> None:
        self.keeping = keeping
        self.got: list[tuple[Address, bytes]] = []
        self.lost: list[Address] = []
        self.counters = new_counters()
        self.server = StreamServer(self._take, self.lost.append, self.counters)
        self.port = 0

    def _take(self, datagram: bytes, address: Address) -> None:
        self.got.append((address, datagram))
        if self.keeping:
            self.server.keep(address)

    async def known(self) -> tuple[TcpClient, Address]:
        """A connection that has proved itself."""
        client = await TcpClient.open(self.port)
        before = len(self.got)
        await client.send(CHECK)
        await eventually(lambda: len(self.got) > before)
        return client, self.got[-1][0]


@contextlib.asynccontextmanager
async def rig(*, keeping: bool = True) -> AsyncIterator[Rig]:
    made = Rig(keeping=keeping)
    for _ in range(20):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            made.port = probe.getsockname()[1]
        with contextlib.suppress(Unavailable):
            await made.server.open("127.0.0.1", made.port)
            break
    try:
        yield made
    finally:
        made.server.close()
        await eventually(lambda: open_streams(made.server) == 0)


async def test_datagrams_pass_both_ways_however_the_stream_is_cut() -> None:
    async with rig() as server:
        client, address = await server.known()
        assert address[0] == "tcp:127.0.0.1"
        assert address[1] & 0xFFFF == client.local[1]
        sizes = [1, 2, 127, 1199, 1500, 1500, 3, 1200]
        sent = [bytes([number]) * size for number, size in enumerate(sizes)]
        stream = b"".join(map(frame, sent))
        cuts = sorted(random.Random(3).sample(range(1, len(stream)), 12))
        for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            await client.write(stream[begin:end])
            await asyncio.sleep(0)
        await eventually(lambda: len(server.got) == 1 + len(sent))
        assert [datagram for _, datagram in server.got[1:]] == sent
        for datagram in sent:
            assert server.server.send(memoryview(datagram), address)
        assert [await client.receive() for _ in sent] == sent
        await client.close()


@pytest.mark.parametrize("length", [0, limits.MAX_DATAGRAM_BYTES + 1, 65_535])
async def test_a_frame_of_no_honest_length_ends_even_a_known_connection(length: int) -> None:
    async with rig() as server:
        client, address = await server.known()
        await client.write(length.to_bytes(2))
        assert await client.ended()
        await eventually(lambda: server.lost == [address])
        assert server.counters["tcp_dropped"] == 1
        assert not server.server.send(b"late", address)


@pytest.mark.parametrize(
    "opening",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        frame(b"\x16" * 100),
        frame(b"\x80" * 100),
        frame(bytes(20)),
        frame(CHECK[:-1] + b"\0\0"),
        b"\0\0",
        b"\xff\xff",
    ],
)
async def test_a_stranger_who_says_anything_but_a_check_is_dropped(opening: bytes) -> None:
    async with rig(keeping=False) as server:
        client = await TcpClient.open(server.port)
        await client.write(opening)
        assert await client.ended()
        assert server.got == []
        assert server.counters["tcp_dropped"] == 1
        assert server.lost == [], "nobody knew it"


async def test_checks_without_proof_buy_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STREAM_PROOF_S", 1.0)
    async with rig(keeping=False) as server:
        silent = await TcpClient.open(server.port)
        half = await TcpClient.open(server.port)
        await half.write(frame(CHECK)[:30])
        forger = await TcpClient.open(server.port)
        await forger.send(CHECK)
        for client in (silent, half, forger):
            assert await client.ended()
        assert server.counters["tcp_dropped"] == 3
        server.keeping = True
        known, address = await server.known()
        await asyncio.sleep(1.1)
        assert server.server.send(b"still here", address)
        assert await known.receive() == b"still here"
        await known.close()


async def test_a_peer_that_does_not_read_is_dropped_and_the_others_are_not() -> None:
    async with rig() as server:
        slow, slow_address = await server.known()
        slow._writer.transport.pause_reading()
        quick, quick_address = await server.known()
        packet = bytes(1200)
        sent = 0
        while server.server.send(packet, slow_address):
            sent += len(packet)
            assert sent < 64 << 20, "the backlog has no bound"
        assert server.counters["tcp_slow"] == 1
        assert server.server.send(packet, quick_address)
        assert await quick.receive() == packet
        await eventually(lambda: server.lost == [slow_address])
        await quick.close()
        await slow.close()


async def test_one_source_may_have_so_many_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_STREAMS_PER_SOURCE", 3)
    async with rig() as server:
        mine = [await server.known() for _ in range(3)]
        refused = await TcpClient.open(server.port)
        assert await refused.ended()
        assert server.counters["tcp_refused"] == 1
        await mine[0][0].close()
        await eventually(lambda: open_streams(server.server) == 2)
        again, _ = await server.known()
        for client in [again, *(one for one, _ in mine[1:])]:
            await client.close()


async def test_a_flood_of_strangers_neither_grows_nor_locks_the_door(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "MAX_STREAMS_PER_SOURCE", 10_000)
    monkeypatch.setattr(limits, "MAX_STRANGER_STREAMS", 32)
    async with rig() as server:
        known, address = await server.known()
        flood: list[TcpClient] = []
        for count in range(1, 2_001):
            flood.append(await TcpClient.open(server.port))
            if count % 100 == 0:
                await eventually(lambda: open_streams(server.server) <= 33)
                for client in flood[:-1]:
                    await client.close()
                del flood[:-1]
        newcomer, _ = await server.known()
        assert server.server.send(b"alive", address)
        assert await known.receive() == b"alive"
        assert server.counters["tcp_opened"] == 2_002
        for client in (known, newcomer, *flood):
            await client.close()


async def test_all_connections_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_STREAMS", 2)
    async with rig() as server:
        pair = [await server.known() for _ in range(2)]
        assert await (await TcpClient.open(server.port)).ended()
        server.server.drop(pair[0][1])
        assert await pair[0][0].ended()
        await eventually(lambda: server.lost == [pair[0][1]])
        third, _ = await server.known()
        await third.close()
        await pair[1][0].close()


async def test_noise_costs_its_sender_the_connection_and_the_loop_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    dice = random.Random(11)
    async with rig() as server:
        for _ in range(100):
            client, _ = await server.known()
            with contextlib.suppress(ConnectionError):
                await client.write(dice.randbytes(dice.choice([1, 3, 100, 5_000, 70_000])))
            await client.close()
        await eventually(lambda: open_streams(server.server) == 0)
        assert len(server.lost) == 100
        assert all(0 < len(datagram) <= limits.MAX_DATAGRAM_BYTES for _, datagram in server.got)
    assert caplog.records == []


async def test_a_port_found_by_chance_is_not_shared_with_one_who_is_about_to_listen() -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", 0))
        with pytest.raises(Unavailable):
            open_socket("127.0.0.1", other.getsockname()[1], socket.SOCK_STREAM)


async def test_connections_of_a_stopped_engine_do_not_hold_its_port() -> None:
    with open_socket("127.0.0.1", 0, socket.SOCK_STREAM, reuse=True) as first:
        port = first.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            first.setblocking(True)
            accepted, _ = first.accept()
            accepted.close()  # the side that closes first keeps the port for a minute
            assert client.recv(1) == b""
    with pytest.raises(Unavailable):
        open_socket("127.0.0.1", port, socket.SOCK_STREAM)
    open_socket("127.0.0.1", port, socket.SOCK_STREAM, reuse=True).close()


# --- through the worker ---


def credentials_of(offer: str) -> Credentials:
    lines = dict(line.split(":", 1) for line in offer.splitlines() if ":" in line)
    return Credentials(lines["a=ice-ufrag"], lines["a=ice-pwd"])


def worker_of(call: Call) -> Worker:
    assert isinstance(call.worker, Worker)
    return call.worker


async def join_over_tcp(call: Call, role: Role, publish: tuple[str, ...] = ()) -> Bridge:
    bridge = await Bridge.open(worker_of(call).port)
    leg = call.worker.add_leg(SESSION, role)
    call.legs[role] = leg
    offer = bridge.between(await call.worker.offer(leg))
    await call.worker.answer(leg, await call.peer(role).answer(offer, publish=publish))
    return bridge


async def test_the_offer_names_a_passive_candidate_below_every_other(call: Call) -> None:
    offer = await call.worker.offer(call.worker.add_leg(SESSION, Role.CUSTOMER))
    udp, tcp = (
        line.removeprefix("a=candidate:").split()
        for line in dict.fromkeys(offer.split("\r\n"))
        if line.startswith("a=candidate:")
    )
    assert udp[2:] == ["udp", udp[3], "127.0.0.1", udp[5], "typ", "host"]
    assert tcp[2:] == ["tcp", tcp[3], "127.0.0.1", udp[5], "typ", "host", "tcptype", "passive"]
    assert udp[0] != tcp[0]
    # Below what a client sees of itself through a NAT (100 << 24), above any relay.
    assert 0 < int(tcp[3]) >> 24 < 100 < int(udp[3]) >> 24


async def test_without_the_setting_nobody_listens(make_worker: WorkerFactory) -> None:
    async with call_on(make_worker(WorkerConfig(tcp=False))) as call:
        offer = await call.worker.offer(call.worker.add_leg(SESSION, Role.CUSTOMER))
        assert "tcptype" not in offer
        with pytest.raises(ConnectionRefusedError):
            await TcpClient.open(worker_of(call).port)


async def test_a_configured_port_that_tcp_cannot_have_stops_the_start(
    make_worker: WorkerFactory,
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        worker = make_worker(WorkerConfig(port=taken.getsockname()[1]))
        with pytest.raises(Unavailable):
            await worker.start()
        await worker.stop()


async def test_a_check_is_answered_on_its_connection_with_where_it_came_from(call: Call) -> None:
    local = credentials_of(await call.worker.offer(call.worker.add_leg(SESSION, Role.CUSTOMER)))
    client = await TcpClient.open(worker_of(call).port)
    await client.send(binding_request(local, use_candidate=True))
    response = stun.parse_message(await client.receive())
    assert response.message_class is stun.Class.RESPONSE
    assert response.attributes["XOR-MAPPED-ADDRESS"] == client.local
    assert response.check_message_integrity(local.password.encode())
    await client.close()


async def test_a_forged_check_leaves_the_connection_a_stranger(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STREAM_PROOF_S", 0.3)
    local = credentials_of(await call.worker.offer(call.worker.add_leg(SESSION, Role.CUSTOMER)))
    for forged in (
        binding_request(local, password="x" * 28),
        binding_request(local, fingerprint=False),
        binding_request(new_credentials()),
        binding_request(local, controlled=True),
    ):
        client = await TcpClient.open(worker_of(call).port)
        await client.send(forged)
        assert await client.ended()
    assert call.worker.counters()["tcp_dropped"] == 4


async def test_a_connection_ends_with_its_leg(call: Call) -> None:
    leg = call.worker.add_leg(SESSION, Role.CUSTOMER)
    local = credentials_of(await call.worker.offer(leg))
    client = await TcpClient.open(worker_of(call).port)
    await client.send(binding_request(local))
    await client.receive()
    call.worker.remove_leg(leg)
    assert await client.ended()


async def test_a_call_over_tcp(call: Call) -> None:
    """One party over TCP, the other over UDP: both ways, first frame and all."""
    bridge = await join_over_tcp(call, Role.CUSTOMER, ("audio",))
    await call.join(Role.EXPERT, ("audio", "video"))
    call.open()
    await call.customer.wait_frames("video", 20)
    await call.expert.wait_frames("audio", 20)
    await call.event(FirstFrame)
    counters = call.worker.counters()
    assert counters["tcp_opened"] == 1
    assert counters["internal_errors"] == 0
    await bridge.close()


async def test_a_cut_connection_is_healed_by_an_ice_restart_over_another(call: Call) -> None:
    first = await join_over_tcp(call, Role.CUSTOMER)
    await call.join(Role.EXPERT, ("audio", "video"))
    call.open()
    await call.customer.wait_frames("video", 10)
    first.cut()
    second = await Bridge.open(worker_of(call).port)
    leg = call.legs[Role.CUSTOMER]
    offer = second.between(await call.worker.offer(leg, ice_restart=True))
    await call.worker.answer(leg, await call.customer.restart_ice(offer))
    await call.customer.wait_frames("video", call.customer.frames["video"] + 10)
    assert call.of(LegLost) == []
    assert call.worker.counters()["dtls_started"] == 2
    for bridge in (first, second):
        await bridge.close()


async def test_a_leg_with_both_goes_on_over_udp_when_the_connection_ends(call: Call) -> None:
    leg = call.worker.add_leg(SESSION, Role.CUSTOMER)
    local = credentials_of(await call.worker.offer(leg))
    mux = worker_of(call)._mux
    loop = asyncio.get_running_loop()
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect(("127.0.0.1", worker_of(call).port))
        sock.send(binding_request(local))
        await loop.sock_recv(sock, 2000)
        client = await TcpClient.open(worker_of(call).port)
        await client.send(binding_request(local, use_candidate=True))
        await client.receive()
        agent = mux._by_ufrag[local.ufrag]
        assert agent.address is not None
        assert agent.address[0].startswith(ice.STREAM_PREFIX)
        await client.close()
        await eventually(lambda: agent.address == sock.getsockname())


def test_tcp_on_uvloop(make_worker: WorkerFactory) -> None:
    async def run() -> None:
        async with call_on(make_worker(WorkerConfig())) as call:
            bridge = await join_over_tcp(call, Role.CUSTOMER)
            await call.join(Role.EXPERT, ("audio", "video"))
            call.open()
            await call.customer.wait_frames("video", 10)
            assert len(call.of(LegConnected)) == 2
            await bridge.close()

    uvloop.run(run())
