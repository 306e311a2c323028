"""A socket bound to all addresses of a machine: each of them answers what it is asked."""

from __future__ import annotations

import asyncio
import socket

import pytest

from engine.media.ice import Credentials
from engine.media.interface import LegConnected, Role
from engine.media.worker import WorkerConfig
from tests.support.media_call import SESSION, WorkerFactory, call_on
from tests.support.media_packets import binding_request
from tests.support.media_peer import eventually

ADDRESSES = ("127.0.0.1", "127.0.0.2", "127.0.0.3")

# What the worker's socket calls an IPv4 address.
HOSTS = pytest.mark.parametrize(("host", "prefix"), [("0.0.0.0", ""), ("::", "::ffff:")])


def credentials(offer: str) -> Credentials:
    lines = dict(line.split(":", 1) for line in offer.splitlines() if ":" in line)
    return Credentials(lines["a=ice-ufrag"], lines["a=ice-pwd"])


@HOSTS
async def test_a_check_is_answered_from_the_address_that_it_came_to(
    make_worker: WorkerFactory, host: str, prefix: str
) -> None:
    worker = make_worker(WorkerConfig(host=host, advertised=ADDRESSES))
    loop = asyncio.get_running_loop()
    async with call_on(worker) as call:
        leg = call.worker.add_leg(SESSION, Role.CUSTOMER)
        own = credentials(await call.worker.offer(leg))
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.bind(("127.0.0.1", 0))
            for address in ADDRESSES:
                request = binding_request(own, use_candidate=address == "127.0.0.2")
                sock.sendto(request, (address, worker.port))
                async with asyncio.timeout(10):
                    _, sender = await loop.sock_recvfrom(sock, 2000)
                assert sender == (address, worker.port)
        selected = worker._leg(leg).address
        assert selected is not None
        assert selected[-1] == prefix + "127.0.0.2", "a check elsewhere moves nothing"
        assert len(worker._leg(leg).ice.addresses) == len(ADDRESSES), "a path for each of them"
        assert call.worker.counters()["send_errors"] == 0


@HOSTS
async def test_a_call_goes_through_the_address_that_each_party_reaches(
    make_worker: WorkerFactory, host: str, prefix: str
) -> None:
    worker = make_worker(WorkerConfig(host=host, advertised=("127.0.0.2",)))
    async with call_on(worker) as call:
        await call.join(Role.CUSTOMER, ("audio",))
        leg = call.worker.add_leg(SESSION, Role.EXPERT)
        offer = (await call.worker.offer(leg)).replace(" 127.0.0.2 ", " 127.0.0.3 ")
        await call.worker.answer(leg, await call.expert.answer(offer, publish=("audio", "video")))
        await eventually(lambda: len(call.of(LegConnected)) == 2)
        call.open()
        await call.customer.wait_frames("video", 10)
        await call.expert.wait_frames("audio", 10)
        for number, reached in ((call.legs[Role.CUSTOMER], "127.0.0.2"), (leg, "127.0.0.3")):
            address = worker._leg(number).address
            assert address is not None
            assert address[-1] == prefix + reached
        assert call.worker.counters()["send_errors"] == 0
