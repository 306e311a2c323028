"""The native load generator against servers that misbehave in known ways."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from collections.abc import Callable

import pylibsrtp
import pytest

from engine.media import rtcp
from loadtests.bench.media_floor import session
from loadtests.media import servers, traffic
from loadtests.media.plan import Plan, Result
from loadtests.media.rig import Rig
from tests.support.bench_rig import KEY, two_legs
from tests.support.media_peer import eventually

COMPILER = shutil.which(os.environ.get("CC", "cc"))
pytestmark = pytest.mark.skipif(
    COMPILER is None and not os.environ.get("CI"), reason="no C compiler here"
)
# So few under way that no socket buffer overflows, however slow the machine.
BACKLOG = 16
PATIENCE_NS = 2_000_000_000


class Echo(asyncio.DatagramProtocol):
    """A server that passes a leg's packets on to the other leg as `change` says, or not."""

    def __init__(self, rig: Rig, change: Callable[[bytes], list[bytes]]) -> None:
        first, second = (peer.sock.getsockname() for peer in rig.peers)
        self._other = {first: second, second: first}
        self._change = change
        self._transport: asyncio.DatagramTransport | None = None
        self.control: dict[tuple[str, int], list[bytes]] = {first: [], second: []}

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if 128 <= data[0] < 192 and not 192 <= data[1] < 224:
            for packet in self._change(data):
                self._transport.sendto(packet, self._other[addr])
        else:
            self.control[addr].append(data)


async def drive(
    rig: Rig,
    server: socket.socket,
    plan: Plan,
    change: Callable[[bytes], list[bytes]],
    *,
    reports: int,
) -> tuple[Result, Echo]:
    """The generator's result against such a server, which waits for that many reports of a leg."""
    loop = asyncio.get_running_loop()
    server.setblocking(False)
    transport, echo = await loop.create_datagram_endpoint(
        lambda: Echo(rig, change), sock=server.dup()
    )
    try:
        result = await plan.run(rig.fds(), server=rig.pid, backlog=BACKLOG, patience_ns=PATIENCE_NS)
        await eventually(lambda: all(len(got) >= reports for got in echo.control.values()))
    finally:
        plan.close()
        transport.close()
    return result, echo


def sequence(packet: bytes) -> int:
    return packet[2] << 8 | packet[3]


async def test_what_comes_back_is_counted_and_timed() -> None:
    with two_legs() as (rig, server):
        plan = traffic.backlogged(rig, 500)
        result, _ = await drive(rig, server, plan, lambda packet: [packet], reports=8)
    assert (result.offered, result.returned, result.lost) == (500, 500, 0)
    assert result.duplicates == result.unmatched == 0
    assert 0 < result.delay_p50_ns <= result.delay_p99_ns <= result.delay_max_ns
    assert result.cpu_us > 0


async def test_what_does_not_come_back_is_lost() -> None:
    with two_legs() as (rig, server):
        plan = traffic.backlogged(rig, 500)
        drop = lambda packet: [] if sequence(packet) % 50 == 5 else [packet]  # noqa: E731
        result, _ = await drive(rig, server, plan, drop, reports=0)
    assert (result.offered, result.returned, result.lost) == (500, 490, 10)


async def test_a_packet_that_comes_twice_counts_once() -> None:
    with two_legs() as (rig, server):
        plan = traffic.backlogged(rig, 100)
        # Only the first ten of each leg: the generator ends with the last packet, not its copy.
        twice = lambda packet: [packet] * (2 if sequence(packet) <= 10 else 1)  # noqa: E731
        result, _ = await drive(rig, server, plan, twice, reports=8)
    assert (result.returned, result.duplicates, result.lost) == (100, 20, 0)


async def test_a_server_that_renumbers_is_counted_without_delays() -> None:
    def renumber(packet: bytes) -> list[bytes]:
        changed = (sequence(packet) + 5000) & 0xFFFF
        return [packet[:2] + changed.to_bytes(2, "big") + packet[4:]]

    with two_legs() as (rig, server):
        result, _ = await drive(rig, server, traffic.backlogged(rig, 100), renumber, reports=0)
    assert (result.returned, result.unmatched, result.lost) == (100, 100, 0)
    assert result.delay_p50_ns is None


async def test_numbers_may_wrap() -> None:
    with two_legs() as (rig, server):
        for flow in rig.video:
            flow.sequence = 65_500
        plan = traffic.backlogged(rig, 500)
        result, _ = await drive(rig, server, plan, lambda packet: [packet], reports=8)
    assert (result.returned, result.unmatched) == (500, 0)
    assert result.delay_max_ns is not None


async def test_reports_leave_when_what_they_report_has_arrived() -> None:
    with two_legs() as (rig, server):
        plan = traffic.backlogged(rig, 800)
        result, echo = await drive(rig, server, plan, lambda packet: [packet], reports=8)
        for data in echo.control.values():
            receive = session(KEY, pylibsrtp.Policy.SSRC_ANY_INBOUND)
            blocks = [receive.unprotect_rtcp(datagram) for datagram in data]
            highest = [rtcp.report_blocks(rtcp.RR, 1, block)[0].highest for block in blocks]
            # Eight for 400 packets, whose first number is 1.
            assert highest == [50 * number for number in range(1, 9)]
    assert result.lost == 0


async def test_the_floor_passes_on_everything() -> None:
    async with servers.floor("127.0.0.1", 4) as rig:
        await rig.learn(rig.video)
        plan = traffic.backlogged(rig, 1000)
        try:
            result = await plan.run(
                rig.fds(), server=rig.pid, backlog=BACKLOG, patience_ns=PATIENCE_NS
            )
        finally:
            plan.close()
    assert (result.returned, result.unmatched, result.lost) == (1000, 0, 0)


async def test_the_worker_passes_on_everything() -> None:
    async with servers.engine("python", "127.0.0.1", 2) as rig:
        flows = [*rig.video, *rig.audio]
        await rig.learn(flows)
        plan = traffic.backlogged(rig, 500)
        try:
            result = await plan.run(
                rig.fds(), server=rig.pid, backlog=BACKLOG, patience_ns=PATIENCE_NS
            )
        finally:
            plan.close()
    assert (result.returned, result.unmatched, result.lost) == (500, 0, 0)
