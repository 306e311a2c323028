"""Presence over real sockets, with virtual time (T12 to T16, T19, T47)."""

from __future__ import annotations

import pytest

from tests.support.signaling import Client, Site, eventually

OFFLINE = {"online": False, "status": "undefined", "callable": False}


def seen(payload: dict[str, object]) -> dict[str, object]:
    return {key: payload[key] for key in ("online", "status", "callable")}


async def gone(site: Site, count: int) -> None:
    """The server has noticed that `count` devices are gone."""
    await eventually(lambda: len(site.sessions.gone) >= count)


async def watching(site: Site, expert: str) -> Client:
    customer = await site.sign_in(site.customer)
    await customer.ok("presence.subscribe", expert_ids=[expert])
    return customer


@pytest.mark.parametrize("state", ["draft", "paused", "archived"])
async def test_C14_T12_status_needs_a_published_consult_listing(site: Site, state: str) -> None:
    await site.publish_listing(state)
    expert = await site.sign_in(site.expert)
    for status in ("available", "away", "busy", "undefined"):
        assert await expert.code("presence.set", status=status) == "no_consultation"
    assert await site.presence.chosen_status(site.expert) == "undefined"
    await site.publish_listing("published")
    answer = await expert.ok("presence.set", status="available")
    assert (answer["status"], answer["effective"]) == ("available", "available")


async def test_T12_only_an_expert_has_a_status(site: Site) -> None:
    customer = await site.sign_in(site.customer)
    assert await customer.code("presence.set", status="available") == "not_expert"


@pytest.mark.parametrize(
    ("status", "is_callable"),
    [("available", True), ("away", True), ("busy", False), ("undefined", False)],
)
async def test_T13_T16_T47_watchers_see_status_and_whether_a_call_is_possible(
    site: Site, status: str, is_callable: bool
) -> None:
    customer = await watching(site, site.expert)
    expert = await site.sign_in(site.expert)
    await expert.ok("presence.set", status=status)
    await customer.settle()
    last = customer.events["presence.updated"][-1]
    assert seen(last) == {"online": True, "status": status, "callable": is_callable}
    assert last["expert_id"] == site.expert
    assert last["v"] == 1


async def test_T47_subscribing_gives_a_snapshot_and_unsubscribing_ends_the_pushes(
    site: Site,
) -> None:
    expert = await site.sign_in(site.expert)
    await expert.ok("presence.set", status="available")
    customer = await site.sign_in(site.customer)
    snapshot = await customer.ok("presence.subscribe", expert_ids=[site.expert, "usr_nobody"])
    views = {view["expert_id"]: seen(view) for view in snapshot["experts"]}
    assert views == {
        site.expert: {"online": True, "status": "available", "callable": True},
        "usr_nobody": OFFLINE,
    }
    await customer.ok("presence.unsubscribe", expert_ids=[site.expert])
    await expert.ok("presence.set", status="busy")
    await customer.settle()
    assert customer.events["presence.updated"] == []


async def test_a_customer_can_not_be_watched(site: Site) -> None:
    stranger = await site.sign_in(site.stranger)
    await site.sign_in(site.customer)
    answer = await stranger.ok("presence.subscribe", expert_ids=[site.customer])
    assert seen(answer["experts"][0]) == OFFLINE


async def test_the_experts_own_devices_follow_a_change_made_on_one(site: Site) -> None:
    first, second = await site.sign_in(site.expert), await site.sign_in(site.expert, "msgpack")
    await first.ok("presence.set", status="away")
    await second.settle()
    assert second.events["presence.updated"][-1]["status"] == "away"


async def test_the_choice_outlives_the_socket(site: Site) -> None:
    expert = await site.sign_in(site.expert)
    await expert.ok("presence.set", status="away")
    await expert.close()
    await gone(site, 1)
    await site.pass_time(60)
    customer = await watching(site, site.expert)
    assert customer.events["presence.updated"] == []
    await site.sign_in(site.expert)
    assert (await customer.wait_for("presence.updated"))["status"] == "away"


async def test_offline_makes_the_status_undefined_after_the_linger(site: Site) -> None:
    customer = await watching(site, site.expert)
    expert = await site.sign_in(site.expert)
    await expert.ok("presence.set", status="available")
    await expert.close()
    await gone(site, 1)
    await site.pass_time(site.settings.presence_linger_s - 0.001)
    await customer.settle()
    assert customer.events["presence.updated"][-1]["online"] is True
    await site.pass_time(0.001)
    await customer.settle()
    assert seen(customer.events["presence.updated"][-1]) == OFFLINE


async def test_a_reload_does_not_flash_offline(site: Site) -> None:
    customer = await watching(site, site.expert)
    expert = await site.sign_in(site.expert)
    await expert.ok("presence.set", status="available")
    await customer.settle()
    told = len(customer.events["presence.updated"])
    for reloads in range(1, 4):
        await expert.close()
        await gone(site, reloads)
        await site.pass_time(1)
        expert = await site.sign_in(site.expert)
    await site.pass_time(60)
    await customer.settle()
    assert len(customer.events["presence.updated"]) == told
    assert site.presence.is_online(site.expert)


async def test_one_device_of_two_leaving_changes_nothing(site: Site) -> None:
    first, _second = await site.sign_in(site.expert), await site.sign_in(site.expert)
    await first.ok("presence.set", status="available")
    await first.close()
    await gone(site, 1)
    await site.pass_time(60)
    assert (await site.presence.view(site.expert)).status == "available"


async def test_a_live_session_makes_the_expert_busy_until_it_ends(site: Site) -> None:
    watcher = await site.sign_in(site.stranger)
    await watcher.ok("presence.subscribe", expert_ids=[site.expert])
    customer, expert = await site.sign_in(site.customer), await site.sign_in(site.expert)
    session_id = await site.running(customer, expert)
    await watcher.settle()
    assert seen(watcher.events["presence.updated"][-1]) == {
        "online": True,
        "status": "busy",
        "callable": False,
    }
    await expert.ok("session.end", session_id=session_id)
    await watcher.settle()
    assert watcher.events["presence.updated"][-1]["status"] == "available"


async def test_subscriptions_of_a_connection_are_bounded(site: Site) -> None:
    customer = await site.sign_in(site.customer)
    limit = site.settings.subscriptions_per_connection
    ids = [f"usr_{number}" for number in range(limit + 1)]
    for start in range(0, limit, 100):
        await customer.ok("presence.subscribe", expert_ids=ids[start : start + 100])
    await customer.ok("presence.subscribe", expert_ids=ids[:100])  # again: nothing new
    code = await customer.code("presence.subscribe", expert_ids=[ids[limit]])
    assert code == "too_many_subscriptions"
    await customer.ok("presence.unsubscribe", expert_ids=ids[:1])
    await customer.ok("presence.subscribe", expert_ids=[ids[limit]])


async def test_events_outside_sessions_count_per_user_on_all_devices(site: Site) -> None:
    watcher = await site.sign_in(site.customer)
    other = await site.sign_in(site.customer, "msgpack")
    await watcher.ok("presence.subscribe", expert_ids=[site.expert])
    expert = await site.sign_in(site.expert)
    for status in ("available", "away", "busy"):
        await expert.ok("presence.set", status=status)
    await site.signaling.outbound.to_user(site.customer, "wallet.updated", {"currency": "EUR"})
    await watcher.settle()
    await other.settle()
    numbers = [payload["seq"] for _, payload in watcher.order]
    assert numbers == list(range(1, len(numbers) + 1))
    assert [payload["seq"] for _, payload in other.order] == numbers[-1:]
