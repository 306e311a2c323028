"""Devices and their media legs: several at once, reloads, lost sockets."""

from __future__ import annotations

import pytest

from engine.errors import BadInput, Conflict, NotFound, Unavailable
from engine.media.interface import Role
from tests.support.meter_rig import tariff
from tests.support.session_rig import SessionRig, call


def offer_of(rig: SessionRig, device: str) -> dict[str, object]:
    return rig.out.device(device, "rtc.offer")[-1]


async def test_each_device_of_the_expert_is_connected_while_it_rings(rig: SessionRig) -> None:
    one = await (await call(rig, tariff(900))).invite()
    for device in ("phone", "laptop"):
        await rig.service.join(one.expert, device, one.id, 0)
    await rig.settle()
    media = rig.media.calls[one.id]
    assert sum(role is Role.EXPERT for role in media.legs.values()) == 2
    assert Role.EXPERT not in media.selected
    phone_leg, laptop_leg = (str(offer_of(rig, d)["leg_id"]) for d in ("phone", "laptop"))
    rig.media.connect(one.id, phone_leg)
    assert Role.EXPERT not in media.selected
    await rig.service.accept(one.expert, "laptop", one.id)
    assert media.selected[Role.EXPERT] == laptop_leg
    assert phone_leg not in media.legs
    with pytest.raises(NotFound) as refused:
        await rig.service.rtc_answer(one.expert, "phone", one.id, phone_leg, "answer")
    assert refused.value.code == "leg_not_found"
    await one.hangup()


async def test_the_answering_device_and_the_others_hear_different_things_under_one_number(
    rig: SessionRig,
) -> None:
    one = await (await call(rig, tariff(900))).invite()
    await rig.service.accept(one.expert, "laptop", one.id)
    (mine,) = rig.out.device("laptop", "call.accepted")
    (theirs,) = rig.out.of(one.expert, "call.accepted")
    assert (mine["reason"], theirs["reason"]) == (None, "answered_elsewhere")
    assert mine["seq"] == theirs["seq"]
    await one.hangup()


async def test_an_offer_is_for_its_device_and_costs_the_others_no_gap(rig: SessionRig) -> None:
    one = await (await call(rig, tariff(900))).invite()
    offer = offer_of(rig, one.customer_device)
    (instead,) = rig.out.of(one.customer, "session.updated")
    assert offer["seq"] == instead["seq"]
    assert offer["sdp"] == f"offer {offer['leg_id']}"
    await one.hangup()


async def test_an_answer_without_a_leg_keeps_a_place_for_it(rig: SessionRig) -> None:
    one = await (await call(rig, tariff(900))).invite()
    await rig.service.join(one.expert, "phone", one.id, 0)
    await rig.service.accept(one.expert, "laptop", one.id)
    media = rig.media.calls[one.id]
    assert Role.EXPERT not in media.legs.values()
    await rig.service.join(one.expert, "laptop", one.id, 0)
    await rig.settle()
    assert media.legs[media.selected[Role.EXPERT]] is Role.EXPERT
    await one.hangup()


async def test_a_reload_in_mid_call_takes_over_once_connected_and_costs_nothing(
    rig: SessionRig,
) -> None:
    one = await (await call(rig, tariff(900))).talk()
    await rig.run(100)
    media = rig.media.calls[one.id]
    old = media.selected[Role.CUSTOMER]
    await rig.service.device_gone(one.customer, one.customer_device)
    await rig.settle()
    assert media.selected[Role.CUSTOMER] == old  # media may well flow on
    await rig.service.join(one.customer, "reloaded", one.id, 0)
    await rig.settle()
    assert media.selected[Role.CUSTOMER] == old
    new = str(offer_of(rig, "reloaded")["leg_id"])
    await rig.service.rtc_answer(one.customer, "reloaded", one.id, new, "answer")
    rig.media.connect(one.id, new)
    assert media.selected[Role.CUSTOMER] == new
    assert old not in media.legs
    await rig.run(10)
    assert [event for event in await rig.evidence(one.id) if event == "meter.charged"] == [
        "meter.charged"
    ]
    assert (await one.hangup()).total_minor == 90_000


async def test_joining_again_on_the_same_device_offers_the_same_leg(rig: SessionRig) -> None:
    one = await (await call(rig, tariff(900))).invite()
    await rig.service.join(one.customer, one.customer_device, one.id, 0)
    await rig.settle()
    legs = {offer["leg_id"] for offer in rig.out.device(one.customer_device, "rtc.offer")}
    assert len(legs) == 1
    await one.hangup()


async def test_a_restart_is_a_fresh_offer(rig: SessionRig) -> None:
    one = await (await call(rig, tariff(900))).invite()
    await rig.service.rtc_restart(one.customer, one.customer_device, one.id)
    await rig.settle()
    assert rig.media.offers[-1] == (offer_of(rig, one.customer_device)["leg_id"], True)
    with pytest.raises(NotFound) as refused:
        await rig.service.rtc_restart(one.customer, "unknown", one.id)
    assert refused.value.code == "leg_not_found"
    await one.hangup()


async def test_a_bad_answer_changes_nothing(rig: SessionRig) -> None:
    one = await (await call(rig, tariff(900))).talk()
    leg = str(offer_of(rig, one.customer_device)["leg_id"])
    with pytest.raises(BadInput) as refused:
        await rig.service.rtc_answer(one.customer, one.customer_device, one.id, leg, "rubbish")
    assert refused.value.code == "invalid_sdp"
    assert rig.service.in_live_session(one.customer)
    await one.hangup()


async def test_too_many_devices(rig: SessionRig) -> None:
    one = await (await call(rig, tariff(900))).invite()
    for number in range(4):
        await rig.service.join(one.expert, f"device {number}", one.id, 0)
    with pytest.raises(Conflict) as refused:
        await rig.service.join(one.expert, "one more", one.id, 0)
    assert refused.value.code == "too_many_devices"
    await one.hangup()


async def test_a_device_that_goes_while_it_rings_frees_its_place(rig: SessionRig) -> None:
    one = await (await call(rig, tariff(900))).invite()
    await rig.service.join(one.expert, "phone", one.id, 0)
    await rig.settle()
    await rig.service.device_gone(one.expert, "phone")
    await rig.settle()
    assert Role.EXPERT not in rig.media.calls[one.id].legs.values()
    assert not rig.out.of(one.customer, "participant.left")
    await one.hangup()


async def test_a_closed_leg_is_replaced_at_the_next_join(rig: SessionRig) -> None:
    one = await (await call(rig, tariff(900))).talk()
    media = rig.media.calls[one.id]
    rig.media.lose(one.id, media.selected[Role.CUSTOMER], "closed")
    await rig.service.join(one.customer, one.customer_device, one.id, 0)
    await rig.settle()
    assert media.selected[Role.CUSTOMER] == offer_of(rig, one.customer_device)["leg_id"]
    await one.hangup()


async def test_a_socket_lost_after_the_end_and_before_the_store_heard_of_it(
    rig: SessionRig,
) -> None:
    one = await (await call(rig, tariff(900))).talk()
    await rig.service.join(one.expert, "second", one.id, 0)
    rig.store.down = True
    with pytest.raises(Unavailable):
        await one.hangup()
    for device in (one.expert_device, "second", one.customer_device):
        await rig.service.device_gone(one.expert, device)
        await rig.service.device_gone(one.customer, device)
    rig.store.down = False
    await rig.run(2)
    assert (await rig.row(one.id)).end_reason == "void"
    assert rig.service.metrics().get("faults", 0) == 0


async def test_media_commands_of_a_text_or_an_ended_session(rig: SessionRig) -> None:
    text = await (await call(rig, tariff(900), mode="text")).talk()
    with pytest.raises(Conflict) as refused:
        await rig.service.track_update(text.expert, "x", text.id, True, False)
    assert refused.value.code == "wrong_state"
    await text.hangup()
    audio = await (await call(rig, tariff(900), mode="audio")).invite()
    with pytest.raises(Conflict) as camera:
        await rig.service.track_update(audio.customer, "x", audio.id, True, True)
    assert camera.value.code == "mode_not_ordered"
    await audio.hangup()
    with pytest.raises(Conflict) as ended:
        await rig.service.rtc_answer(audio.customer, "x", audio.id, "leg", "answer")
    assert ended.value.code == "session_ended"
