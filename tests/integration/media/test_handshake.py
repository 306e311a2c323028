"""DTLS over bad networks, and how many handshakes one address may have at once."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections.abc import Sequence

import pytest
from aiortc.rtcdtlstransport import (
    RTCCertificate,
    RTCDtlsFingerprint,
    RTCDtlsParameters,
    RTCDtlsTransport,
)

from engine.media import limits
from engine.media.dtls import DtlsServer
from engine.media.interface import FirstFrame, LegConnected, LegLost, Role
from engine.media.sdp import Fingerprint
from tests.support.media_call import SESSION, Call
from tests.support.media_peer import AiortcPeer, eventually
from tests.support.media_trouble import Fate, HandshakeTrouble, is_dtls

SERVER = RTCCertificate.generateCertificate()
CLIENT = RTCCertificate.generateCertificate()


class _ClientPipe:
    """What aiortc's DTLS client believes to be its ICE transport."""

    role = "controlling"

    def __init__(self, lossy: HandshakeTrouble) -> None:
        self.arriving: asyncio.Queue[bytes] = asyncio.Queue()
        self.server: DtlsServer | None = None
        self._lossy = lossy

    async def _recv(self) -> bytes:
        return await self.arriving.get()

    async def _send(self, record: bytes) -> None:
        assert self.server is not None
        for arrived in self._lossy(record):
            self.server.feed(arrived)


class Handshake:
    """One client and one server over a link that does this to what each sends."""

    def __init__(self, to_server: Sequence[Fate], to_client: Sequence[Fate]) -> None:
        self.plan = (*to_server, *to_client)
        self.pipe = _ClientPipe(HandshakeTrouble(to_server))
        self.states: list[str] = []
        self.server = DtlsServer(SERVER, send=self._send, on_change=self.states.append)
        self.pipe.server = self.server
        self.client = RTCDtlsTransport(self.pipe, [CLIENT])  # type: ignore[arg-type]
        self.client._set_role("client")
        self._to_client = HandshakeTrouble(to_client)

    def _send(self, record: bytes) -> None:
        for arrived in self._to_client(record):
            self.pipe.arriving.put_nowait(arrived)

    async def run(self) -> None:
        fingerprints = [_fingerprint(CLIENT)]
        task = self.server.start([Fingerprint(f.algorithm, f.value) for f in fingerprints])
        await self.client.start(RTCDtlsParameters([_fingerprint(SERVER)]))
        await eventually(lambda: bool(self.states), limits.HANDSHAKE_TIMEOUT_S + 5)
        await self.client.stop()
        self.server.close()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _fingerprint(certificate: RTCCertificate) -> RTCDtlsFingerprint:
    return next(f for f in certificate.getFingerprints() if f.algorithm == "sha-256")


async def test_any_flight_may_be_lost_doubled_or_late() -> None:
    """Every fate of the first two datagrams each way: a client hello or a last flight, a server
    hello or a last flight. All at once, because OpenSSL's timer begins at one real second.
    """
    plans = list(itertools.product(Fate, repeat=2))
    runs = [Handshake(there, back) for there in plans for back in plans]
    await asyncio.gather(*(run.run() for run in runs))
    assert [run.plan for run in runs if run.states != ["connected"]] == []
    assert [run.plan for run in runs if run.client.state != "connected"] == []


@pytest.mark.parametrize("seed", [1, 2])
async def test_calls_connect_through_networks_that_lose_handshakes(call: Call, seed: int) -> None:
    dice = random.Random(seed)
    for role in Role:
        shim = await call.shim()
        ways = [HandshakeTrouble(dice.choices(list(Fate), [3, 3, 1, 1], k=3)) for _ in range(2)]
        shim.trouble = (ways[0], ways[1])
        leg = call.worker.add_leg(SESSION, role)
        call.legs[role] = leg
        offer = shim.between(await call.worker.offer(leg))
        publish = ("audio", "video") if role is Role.EXPERT else ()
        await call.worker.answer(leg, await call.peer(role).answer(offer, publish=publish))
    call.open()
    await eventually(lambda: len(call.of(LegConnected)) == 2, limits.HANDSHAKE_TIMEOUT_S + 5)
    await call.customer.wait_frames("video", 5)
    await call.event(FirstFrame)
    assert call.of(LegLost) == []


async def join_at_loopback(call: Call, peer: AiortcPeer, role: Role, *, stall: bool) -> str:
    """All of these come from one address; if `stall`, what the worker's DTLS says never arrives."""
    shim = await call.shim(to_peer=is_dtls if stall else None)
    leg = call.worker.add_leg(SESSION, role)
    answer = await peer.answer(shim.between(await call.worker.offer(leg)))
    await call.worker.answer(leg, answer)
    return leg


async def test_the_handshakes_of_one_address_are_limited_until_one_is_over(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_HANDSHAKES_PER_SOURCE", 2)
    async with AiortcPeer() as phone, AiortcPeer() as laptop, AiortcPeer() as elsewhere:
        stalled = await join_at_loopback(call, phone, Role.EXPERT, stall=True)
        await join_at_loopback(call, laptop, Role.EXPERT, stall=True)
        await eventually(lambda: call.worker.counters()["dtls_started"] == 2)
        leg = await join_at_loopback(call, call.customer, Role.CUSTOMER, stall=False)
        await eventually(lambda: call.worker.counters()["dtls_refused_busy"] > 0)
        # Another address is not concerned.
        other = await call.join(Role.EXPERT, peer=elsewhere)
        assert (await call.event(LegConnected)).leg_id == other
        call.worker.remove_leg(stalled)
        await eventually(lambda: [e.leg_id for e in call.of(LegConnected)] == [other, leg])


async def test_a_handshake_that_stalls_fails_and_frees_its_place(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_HANDSHAKES_PER_SOURCE", 1)
    with monkeypatch.context() as patch:
        patch.setattr(limits, "HANDSHAKE_TIMEOUT_S", 0.2)
        stalled = await join_at_loopback(call, call.expert, Role.EXPERT, stall=True)
        lost = await call.event(LegLost)
        assert (lost.leg_id, lost.reason) == (stalled, "failed")
    await join_at_loopback(call, call.customer, Role.CUSTOMER, stall=False)
    assert (await call.event(LegConnected)).role is Role.CUSTOMER
    assert call.worker.counters()["dtls_refused_busy"] == 0
