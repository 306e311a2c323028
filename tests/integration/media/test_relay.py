"""Calls between two aiortc peers through the worker: what passes, and when."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import uvloop
from aioice.ice import get_host_addresses

from engine.clock import NS_PER_MS, NS_PER_S, SystemClock
from engine.errors import BadInput, Conflict, NotFound, Unavailable
from engine.media import limits
from engine.media.interface import Delivery, FirstFrame, LegConnected, LegLost, Role
from engine.media.worker import WorkerConfig
from tests.support.media_call import SESSION, Call, WorkerFactory, call_on
from tests.support.media_peer import AiortcPeer, eventually

NOW = SystemClock().now_ns


async def settle(seconds: float = 0.5) -> None:
    await asyncio.sleep(seconds)


async def test_expert_media_reaches_the_customer_and_starts_the_meter(call: Call) -> None:
    await call.connect()
    opened = NOW()
    call.open()
    await call.customer.wait_frames("video", 20)
    await call.customer.wait_frames("audio", 50)
    first = await call.event(FirstFrame)
    assert opened <= first.sent_at_ns < first.acked_at_ns <= NOW()
    await eventually(lambda: len(call.of(Delivery)) >= 2)
    delivered = [d.last_acked_at_ns for d in call.of(Delivery)]
    assert delivered == sorted(delivered)
    assert delivered[0] >= first.sent_at_ns
    assert len(call.of(FirstFrame)) == 1
    assert call.expert.frames == {"audio": 0, "video": 0}


async def test_both_ways(call: Call) -> None:
    await call.connect(customer=("audio", "video"))
    call.open()
    for peer in (call.customer, call.expert):
        await peer.wait_frames("video", 10)
        await peer.wait_frames("audio", 20)
    stats = call.worker.leg_stats(call.legs[Role.CUSTOMER])
    assert stats is not None
    await eventually(lambda: call.worker.leg_stats(call.legs[Role.EXPERT]).rtt_ms is not None)  # type: ignore[union-attr]
    assert stats.packets_in > 0
    assert stats.packets_out > 0


def test_the_worker_runs_on_uvloop(make_worker: WorkerFactory) -> None:
    async def run() -> None:
        async with call_on(make_worker(WorkerConfig())) as call:
            await call.connect()
            call.open()
            await call.customer.wait_frames("video", 10)
            await call.event(FirstFrame)

    uvloop.run(run())


async def test_C8_audio_alone_is_a_first_frame(make_worker: WorkerFactory) -> None:
    async with call_on(make_worker(WorkerConfig()), video=False) as call:
        await call.connect(expert=("audio",))
        call.open()
        first = await call.event(FirstFrame)
        assert first.kind == "audio"


@pytest.mark.parametrize("codec", ["vp8", "h264"])
async def test_video_alone_is_a_first_frame(codec: str, make_worker: WorkerFactory) -> None:
    async with call_on(make_worker(WorkerConfig(codecs=("opus", codec)))) as call:
        await call.connect(expert=("video",))
        call.open()
        first = await call.event(FirstFrame)
        assert first.kind == "video"
        await call.customer.wait_frames("video", 10)


async def test_publishing_after_the_answer_needs_no_negotiation(call: Call) -> None:
    await call.connect(expert=())
    call.open()
    call.expert.publish("audio", "video")
    await call.customer.wait_frames("video", 5)


async def test_nothing_passes_before_the_gate_opens(call: Call) -> None:
    await call.connect(customer=("audio", "video"))
    await eventually(lambda: call.packets_in(Role.EXPERT) > 50)
    await eventually(lambda: call.packets_in(Role.CUSTOMER) > 50)
    assert call.packets_out(Role.CUSTOMER) == call.packets_out(Role.EXPERT) == 0
    assert call.of(FirstFrame) == []
    call.open()
    await call.customer.wait_frames("video", 5)


async def test_C9_one_way_shows_the_expert_nothing(one_way_call: Call) -> None:
    call = one_way_call
    await call.connect(customer=("audio", "video"))
    call.open()
    await call.customer.wait_frames("video", 20)
    await call.event(FirstFrame)
    await eventually(lambda: call.packets_in(Role.CUSTOMER) > 100)
    assert call.packets_out(Role.EXPERT) == 0
    assert call.expert.frames == {"audio": 0, "video": 0}
    for transceiver in call.expert.pc.getTransceivers():
        entries = (await transceiver.receiver.getStats()).values()
        reported = [e for e in entries if e.type in ("remote-outbound-rtp", "inbound-rtp")]
        assert reported == [], "not even a report of the customer's streams"


async def test_T50_one_way_turns_into_two_way_and_back(one_way_call: Call) -> None:
    call = one_way_call
    await call.connect(customer=("audio", "video"))
    call.open()
    await call.customer.wait_frames("video", 5)
    call.worker.set_one_way(SESSION, one_way=False)
    await call.expert.wait_frames("video", 5)
    call.worker.set_one_way(SESSION, one_way=True)
    before = call.packets_out(Role.EXPERT)
    await settle()
    assert call.packets_out(Role.EXPERT) == before


async def test_T50_camera_button(call: Call) -> None:
    await call.connect()
    call.open()
    await call.customer.wait_frames("video", 5)
    call.worker.set_publishing(SESSION, Role.EXPERT, audio=True, video=False)
    await settle(0.3)
    frozen = call.customer.frames["video"]
    heard = call.customer.frames["audio"]
    await call.customer.wait_frames("audio", heard + 20)
    assert call.customer.frames["video"] == frozen
    call.worker.set_publishing(SESSION, Role.EXPERT, audio=True, video=True)
    await call.customer.wait_frames("video", frozen + 10)


async def test_nothing_passes_after_the_cutoff(call: Call) -> None:
    await call.connect()
    call.open()
    await call.customer.wait_frames("video", 5)
    call.worker.set_cutoff(SESSION, NOW() + 300 * NS_PER_MS)
    await settle(0.35)
    stopped = call.packets_out(Role.CUSTOMER)
    received = call.packets_in(Role.EXPERT)
    await eventually(lambda: call.packets_in(Role.EXPERT) > received + 50)
    assert call.packets_out(Role.CUSTOMER) == stopped
    call.worker.set_cutoff(SESSION, NOW() + 60 * NS_PER_S)
    await call.customer.wait_frames("video", call.customer.frames["video"] + 5)


async def test_the_device_that_answers_keeps_its_leg_alone(call: Call) -> None:
    await call.join(Role.CUSTOMER)
    async with AiortcPeer() as phone, AiortcPeer() as laptop:
        await call.join(Role.EXPERT, ("audio", "video"), peer=phone)
        chosen = await call.join(Role.EXPERT, ("audio", "video"), peer=laptop)
        await eventually(lambda: len(call.of(LegConnected)) == 3)
        call.open()
        await settle()
        assert call.packets_out(Role.CUSTOMER) == 0, "two legs and none selected"
        call.worker.select_leg(SESSION, chosen)
        await call.customer.wait_frames("video", 5)
        await eventually(lambda: phone.dtls_state == "closed")
        assert laptop.dtls_state == "connected"
        # The unchosen leg was closed by us: that is no loss to report.
        assert call.of(LegLost) == []


async def test_an_expert_who_reconnects_continues_the_customers_stream(call: Call) -> None:
    await call.connect()
    call.open()
    await call.customer.wait_frames("video", 10)
    async with AiortcPeer() as again:
        leg = await call.join(Role.EXPERT, ("audio", "video"), peer=again)
        await eventually(lambda: len(call.of(LegConnected)) == 3)
        call.worker.select_leg(SESSION, leg)
        await call.customer.wait_frames("video", call.customer.frames["video"] + 20)
        await call.customer.wait_frames("audio", call.customer.frames["audio"] + 20)
        assert len(call.of(FirstFrame)) == 1


async def test_a_leg_that_hangs_up_is_lost(call: Call) -> None:
    await call.connect()
    call.open()
    await call.customer.wait_frames("audio", 5)
    await call.expert.close()
    lost = await call.event(LegLost)
    assert (lost.role, lost.reason) == (Role.EXPERT, "closed")


async def test_a_wrong_certificate_is_refused(call: Call) -> None:
    leg = call.worker.add_leg(SESSION, Role.CUSTOMER)
    answer = await call.customer.answer(await call.worker.offer(leg))
    lines = [
        line[:-2] + ("00" if line[-2:] != "00" else "11") if "fingerprint" in line else line
        for line in answer.split("\r\n")
    ]
    await call.worker.answer(leg, "\r\n".join(lines))
    lost = await call.event(LegLost)
    assert lost.reason == "failed"
    assert call.of(LegConnected) == []


async def test_bad_answers_and_unknown_ids_change_nothing(call: Call) -> None:
    leg = call.worker.add_leg(SESSION, Role.CUSTOMER)
    with pytest.raises(BadInput) as refused:
        await call.worker.answer(leg, "v=0\r\nnonsense")
    assert refused.value.code == "invalid_sdp"
    for attempt in (call.worker.offer("leg_none"), call.worker.answer("leg_none", "")):
        with pytest.raises(NotFound):
            await attempt
    for action in (call.worker.open_gate, lambda s: call.worker.set_cutoff(s, None)):
        with pytest.raises(NotFound):
            action("ses_none")
    call.worker.close_session("ses_none")
    call.worker.remove_leg("leg_none")
    assert call.worker.leg_stats("leg_none") is None


async def test_a_leg_of_another_session_cannot_be_selected(call: Call) -> None:
    call.worker.add_session("ses_other", one_way=False, video=True)
    leg = call.worker.add_leg("ses_other", Role.EXPERT)
    with pytest.raises(NotFound):
        call.worker.select_leg(SESSION, leg)
    call.worker.select_leg("ses_other", leg)


@pytest.mark.parametrize(
    "config",
    [
        WorkerConfig(host="0.0.0.0"),
        WorkerConfig(codecs=("vp8",)),
        WorkerConfig(codecs=("opus",)),
        WorkerConfig(codecs=("opus", "vp8", "x")),
    ],
)
def test_a_useless_configuration_is_refused(
    config: WorkerConfig, make_worker: WorkerFactory
) -> None:
    with pytest.raises(ValueError, match=r"advertised|codecs"):
        make_worker(config)


async def test_the_offer_names_the_advertised_addresses(make_worker: WorkerFactory) -> None:
    config = WorkerConfig(host="0.0.0.0", advertised=("192.0.2.1", "2001:db8::1"))
    async with call_on(make_worker(config)) as call:
        offer = await call.worker.offer(call.worker.add_leg(SESSION, Role.CUSTOMER))
        assert "192.0.2.1" in offer
        assert "2001:db8::1" in offer


@pytest.mark.parametrize("version", [4, 6])
async def test_one_socket_serves_both_families(version: int, make_worker: WorkerFactory) -> None:
    hosts = get_host_addresses(use_ipv4=version == 4, use_ipv6=version == 6)
    if not hosts or not Path("/proc/net/if_inet6").exists():
        pytest.skip(f"no IPv{version} address here")
    async with call_on(make_worker(WorkerConfig(host="::", advertised=(hosts[0],)))) as call:
        await call.connect()
        call.open()
        await call.customer.wait_frames("video", 5)


async def test_legs_and_sessions_are_bounded(make_worker: WorkerFactory) -> None:
    worker = make_worker(WorkerConfig(max_sessions=1))
    with pytest.raises(Unavailable):
        worker.add_session("early", one_way=False, video=True)
    async with call_on(worker):
        with pytest.raises(Conflict):
            worker.add_session(SESSION, one_way=False, video=True)
        with pytest.raises(Unavailable) as refused:
            worker.add_session("second", one_way=False, video=True)
        assert refused.value.code == "overloaded"
        for _ in range(limits.MAX_LEGS_PER_SESSION):
            worker.add_leg(SESSION, Role.EXPERT)
        with pytest.raises(Conflict) as full:
            worker.add_leg(SESSION, Role.EXPERT)
        assert full.value.code == "too_many_legs"


async def test_closing_at_any_moment_leaves_nothing_behind(make_worker: WorkerFactory) -> None:
    for delay in (0.0, 0.005, 0.02, 0.05):
        worker = make_worker(WorkerConfig())
        await worker.start()
        worker.add_session(SESSION, one_way=False, video=True)
        call = Call(worker)
        await call.join(Role.CUSTOMER)
        await call.join(Role.EXPERT, ("audio",))
        await asyncio.sleep(delay)
        worker.close_session(SESSION)
        worker.close_session(SESSION)
        assert worker.leg_stats(call.legs[Role.EXPERT]) is None
        await worker.stop()
        await worker.stop()
        await call.close()


async def test_a_stopped_worker_may_start_again_elsewhere(make_worker: WorkerFactory) -> None:
    worker = make_worker(WorkerConfig())
    await worker.start()
    await worker.stop()
    await worker.start()
    other = make_worker(WorkerConfig(port=worker.port))
    with pytest.raises(Unavailable):
        await other.start()
    await worker.stop()
    await other.stop()


async def test_a_failing_subscriber_does_not_stop_the_relay(
    call: Call, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_event: object) -> None:
        raise RuntimeError("subscriber")

    call.worker.subscribe(fail)
    await call.join(Role.CUSTOMER)
    await call.join(Role.EXPERT, ("audio", "video"))
    call.open()
    await call.customer.wait_frames("video", 5)
    assert call.worker.counters()["internal_errors"] > 0
    assert "subscriber to media events failed" in caplog.text
