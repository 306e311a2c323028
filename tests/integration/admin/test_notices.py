"""Notices on their way: e-mail over a real SMTP server, SMS, socket; the inbox; what is muted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy as sa

from admin.notices import service
from admin.notices.catalogue import CATALOGUE, EMAIL, SMS, Notice
from admin.notices.delivery import LEASE_MS, MOST_ATTEMPTS, Delivery, pause_ms
from admin.notices.mail import SmtpMailer, SmtpSettings
from engine.errors import Unavailable
from engine.store.database import Store
from engine.store.market_tables import notifications
from engine.store.tables import orders, users
from tests.integration.admin.conftest import CUSTOMER, EXPERT, PER_QUARTER, Api, World
from tests.support.mail_server import MailServer
from tests.support.virtual_clock import VirtualClock


@dataclass
class Post:
    """A world in virtual time whose mails go through a mail server."""

    world: World
    clock: VirtualClock
    server: MailServer
    delivery: Delivery

    async def order(self) -> Any:
        """A paid order: the expert is to be told by mail."""
        customer = await self.world.sign_in(CUSTOMER)
        return await customer.order(PER_QUARTER)

    async def row(self, user: str = EXPERT) -> Any:
        """The user's newest notice."""
        query = (
            sa.select(notifications)
            .join(users)
            .where(users.c.email == user)
            .order_by(notifications.c.id.desc())
        )
        async with self.world.store.reading() as tx:
            return (await tx.execute(query.limit(1))).one()


def smtp(world: World, server: MailServer, **settings: Any) -> Delivery:
    options: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": server.port,
        "sender": "InfoTwip <no-reply@talktime.test>",
        "security": "none",
    }
    return Delivery(
        world.store,
        world.clock,
        words=world.words,
        mailer=SmtpMailer(SmtpSettings(**(options | settings)), world.clock),
        sms=world.sms,
        outbound=world.engine,
        secrets={},
    )


@pytest.fixture
async def post(any_store_url: str) -> AsyncIterator[Post]:
    clock = VirtualClock()
    store = Store(any_store_url, clock)
    world = World(store)
    await world.start()
    async with MailServer().running() as server:
        yield Post(world, clock, server, smtp(world, server))
    await world.stop()
    await store.close()


async def test_T57_the_expert_hears_of_an_order_by_mail(post: Post) -> None:
    order = await post.order()
    assert await post.delivery.send_due() == 1
    (mail,) = post.server.taken
    (envelope,) = post.server.envelopes
    assert (envelope.rcpt_tos, envelope.mail_from) == ([EXPERT], "no-reply@talktime.test")
    subject = f"New order {order['number']}: {order['title']}"
    assert mail["Subject"].strip() == subject  # long ones begin on the next line
    text = mail.get_content()
    assert f"http://talktime.test/orders/{order['id']}" in text
    assert "Hello Dr. Elena Marin," in text
    assert "Mira Lind has ordered from you" in text
    assert "12.00 EUR" in text
    assert mail["Auto-Submitted"] == "auto-generated"
    row = await post.row()
    assert (row.channels, row.due_at_ms) == ({"inapp": "sent", "email": "sent"}, None)
    assert mail["Message-ID"] == f"<{row.id}@talktime.test>"
    assert await post.delivery.send_due() == 0


async def test_T77_buying_files_sends_the_expert_a_mail(post: Post) -> None:
    world = post.world
    async with world.store.transaction() as tx:
        row = (await tx.execute(sa.select(orders.metadata.tables["listings"]).limit(1))).one()
        values = row._asdict() | {"id": "lst_files", "kind": "files", "tariffs": {}}
        values |= {"price_minor": 700, "title": "Forms of all kinds", "expert_id": row.expert_id}
        await tx.execute(sa.insert(orders.metadata.tables["listings"]).values(values))
        expert = await tx.scalar(sa.select(users.c.email).where(users.c.id == row.expert_id))
    customer = await world.sign_in(CUSTOMER)
    status, order = await customer.post("/orders", {"listing_id": "lst_files", "confirm": True})
    assert (status, order["state"]) == (201, "completed")
    await post.delivery.send_due()
    (mail,) = post.server.taken
    assert mail["To"] == expert
    assert "Forms of all kinds" in mail["Subject"]
    assert "delivered" in mail.get_content()


async def test_what_the_server_cannot_take_now_is_tried_again_later(post: Post) -> None:
    await post.order()
    post.server.answers["RCPT"] = ["451 later", "hang up"]
    post.server.answers["DATA"] = ["hang up"]
    begun_ms = post.clock.wall_ms()
    for attempt in (1, 2, 3):
        assert await post.delivery.send_due() == 1
        row = await post.row()
        assert (row.channels["email"], row.attempts) == ("scheduled", attempt)
        assert row.due_at_ms == post.clock.wall_ms() + pause_ms(attempt)
        assert await post.delivery.send_due() == 0  # not before
        post.clock.advance(pause_ms(attempt) / 1000)
    assert await post.delivery.send_due() == 1
    assert len(post.server.taken) == 1
    assert (await post.row()).channels["email"] == "sent"
    assert post.clock.wall_ms() - begun_ms == (1 + 4 + 16) * 60_000


async def test_a_server_that_is_away_is_given_up_after_some_attempts(post: Post) -> None:
    await post.order()
    away = smtp(post.world, post.server, port=1)
    for attempt in range(1, MOST_ATTEMPTS + 1):
        assert await away.send_due() == 1
        post.clock.advance(pause_ms(attempt) / 1000)
    row = await post.row()
    assert (row.channels["email"], row.attempts, row.due_at_ms) == ("failed", MOST_ATTEMPTS, None)
    assert await post.delivery.send_due() == 0


async def test_K11_an_address_that_is_refused_for_good_is_noted(post: Post) -> None:
    await post.order()
    post.server.answers["RCPT"] = ["550 no such user"]
    await post.delivery.send_due()
    assert (await post.row()).channels["email"] == "failed"
    async with post.world.store.reading() as tx:
        query = sa.select(users.c.email_bounced_at_ms).where(users.c.email == EXPERT)
        assert await tx.scalar(query) == post.clock.wall_ms()
    await post.order()  # no further mail is tried
    await post.delivery.send_due()
    assert (await post.row()).channels["email"] == "skipped"
    assert post.server.asked == ["RCPT"]


async def test_a_mail_that_is_refused_for_its_content_fails_without_blame(post: Post) -> None:
    await post.order()
    post.server.answers["DATA"] = ["554 looks like spam"]
    await post.delivery.send_due()
    assert (await post.row()).channels["email"] == "failed"
    async with post.world.store.reading() as tx:
        query = sa.select(users.c.email_bounced_at_ms).where(users.c.email == EXPERT)
        assert await tx.scalar(query) is None


async def test_a_server_that_says_nothing_is_left(post: Post) -> None:
    await post.order()
    post.server.answers["RCPT"] = ["wait"]
    hasty = smtp(post.world, post.server, timeout_s=0.3)
    assert await hasty.send_due() == 1
    assert (await post.row()).channels["email"] == "scheduled"


async def test_a_crash_between_sending_and_noting_sends_it_once_more(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    await post.order()

    async def crash(*_: object) -> None:
        raise Unavailable("store_unavailable", "gone")

    with monkeypatch.context() as broken:
        broken.setattr(Delivery, "_note", crash)
        with pytest.raises(Unavailable):
            await post.delivery.send_due()
    assert await post.delivery.send_due() == 0  # somebody may still be at it
    post.clock.advance(LEASE_MS / 1000)
    assert await post.delivery.send_due() == 1
    first, second = post.server.taken
    assert first["Message-ID"] == second["Message-ID"]


async def test_two_nodes_do_not_send_the_same_mail(post: Post) -> None:
    for _ in range(6):
        await post.order()
    other = smtp(post.world, post.server)
    await asyncio.gather(post.delivery.send_due(), other.send_due())
    while await post.delivery.send_due():
        pass
    ids = [mail["Message-ID"] for mail in post.server.taken]
    assert len(ids) == len(set(ids)) == 6


async def test_the_running_task_sends_what_it_is_woken_for_and_stops(store: Store) -> None:
    world = World(store)
    await world.start()
    async with MailServer().running() as server:
        delivery = smtp(world, server)
        delivery.start()
        customer = await world.sign_in(CUSTOMER)
        await customer.order(PER_QUARTER)
        server.answers["DATA"] = ["wait"]
        delivery.wake()
        await asyncio.wait_for(server.waiting.wait(), 60)
        stopping = asyncio.create_task(delivery.stop())
        await asyncio.sleep(0)
        server.release.set()
        await stopping
        assert len(server.taken) == 1
        delivery.wake()  # after the end it stays asleep
    await world.stop()


# Content ------------------------------------------------------------------------------------------


async def test_no_title_or_name_gets_into_the_headers(post: Post) -> None:
    evil = "Advice\r\nBcc: everyone@example.org\r\n\r\nBuy!\u202e\x00"
    async with post.world.store.transaction() as tx:
        await tx.execute(
            sa.update(users).where(users.c.email == CUSTOMER).values(display_name=evil[:-1])
        )
    await post.order()
    async with post.world.store.transaction() as tx:
        await tx.execute(sa.update(orders).values(title=evil[:-1]))
    await post.delivery.send_due()
    (mail,) = post.server.taken
    assert mail["Bcc"] is None
    assert "\n" not in mail["Subject"]
    assert "\u202e" not in mail["Subject"]
    assert post.server.envelopes[0].rcpt_tos == [EXPERT]


async def test_each_reader_gets_the_own_language(post: Post) -> None:
    async with post.world.store.transaction() as tx:
        await tx.execute(sa.update(users).values(locale="ru"))
    order = await post.order()
    await post.delivery.send_due()
    (mail,) = post.server.taken
    assert mail["Subject"].strip() == f"Новый заказ {order['number']}: {order['title']}"
    assert "Здравствуйте, Dr. Elena Marin!" in mail.get_content()


async def test_strangers_addresses_and_closed_accounts_get_no_ordinary_mail(post: Post) -> None:
    for values in (
        {"email_verified_at_ms": None},
        {"state": "suspended", "email_verified_at_ms": 1},
        {"state": "erased"},
    ):
        async with post.world.store.transaction() as tx:
            expert = sa.update(users).where(users.c.email == EXPERT)
            await tx.execute(expert.values(state="active"))
        await post.order()
        async with post.world.store.transaction() as tx:
            await tx.execute(expert.values(values))
        await post.delivery.send_due()
        assert (await post.row()).channels["email"] == "skipped"
    assert post.server.taken == []


# SMS and reminders --------------------------------------------------------------------------------


@pytest.fixture
def reminder(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(CATALOGUE, "order.reminder", Notice(("expert",), ("inapp", EMAIL, SMS)))
    return "order.reminder"


async def remind(post: Post, order_id: str, in_s: int, event: str) -> None:
    async with post.world.store.transaction() as tx:
        row = (await tx.execute(sa.select(orders).where(orders.c.id == order_id))).one()
        await service.remind(
            post.world.deps,
            tx,
            event,
            row,
            send_at_ms=post.clock.wall_ms() + in_s * 1000,
            key=f"start:{order_id}",
            data={},
        )


async def test_B50_a_reminder_comes_at_its_time_on_every_channel(post: Post, reminder: str) -> None:
    async with post.world.store.transaction() as tx:
        await tx.execute(
            sa.update(users).where(users.c.email == EXPERT).values(phone="+40721234567")
        )
    order = await post.order()
    await post.delivery.send_due()
    post.server.taken.clear()
    post.world.engine.pushed.clear()
    await remind(post, order["id"], 3_600, reminder)
    await remind(post, order["id"], 7_200, reminder)  # moved
    post.clock.advance(7_199)
    assert await post.delivery.send_due() == 0
    expert = await post.world.sign_in(EXPERT)  # the token of before is out of date by now
    assert len((await expert.get("/notifications"))[1]["items"]) == 1
    post.clock.advance(1)
    assert await post.delivery.send_due() == 1
    assert len(post.server.taken) == 1
    ((phone, text),) = post.world.sms.sent
    assert phone == "+40721234567"
    assert f"http://talktime.test/orders/{order['id']}" in text
    assert [event for _, event, _ in post.world.engine.pushed] == ["notification.created"]
    _, inbox = await expert.get("/notifications")
    assert [item["type"] for item in inbox["items"]] == ["order.reminder", "order.paid"]
    await remind(post, order["id"], 60, reminder)  # was sent: left alone
    post.clock.advance(60)
    assert await post.delivery.send_due() == 0


async def test_a_reminder_goes_with_its_cause(post: Post, reminder: str) -> None:
    order, other = await post.order(), await post.order()
    await post.delivery.send_due()
    for one in (order, other):
        await remind(post, one["id"], 60, reminder)
    async with post.world.store.transaction() as tx:
        await service.forget(tx, order["id"], reminder)
    post.clock.advance(60)
    assert await post.delivery.send_due() == 1
    assert (await post.row()).subject_id == other["id"]


async def test_without_a_number_there_is_no_sms(post: Post, reminder: str) -> None:
    order = await post.order()
    await remind(post, order["id"], 0, reminder)
    while await post.delivery.send_due():
        pass
    assert (await post.row()).channels[SMS] == "skipped"
    assert not post.world.sms.sent


# The inbox ----------------------------------------------------------------------------------------


async def inbox(api: Api, query: str = "") -> Any:
    status, page = await api.get(f"/notifications{query}")
    assert status == 200
    return page


async def test_K8_the_inbox_shows_what_happened_and_counts_what_is_unread(
    any_world: World,
) -> None:
    world = any_world
    customer, expert = await world.sign_in(CUSTOMER), await world.sign_in(EXPERT)
    made = [await customer.order(PER_QUARTER) for _ in range(5)]
    assert {who for who, event, _ in world.engine.pushed if event == "notification.created"} == {
        expert.user_id
    }
    page = await inbox(expert, "?limit=2")
    assert (page["unread"], len(page["items"])) == (5, 2)
    first = page["items"][0]
    assert first["title"] == f"New order {made[-1]['number']}: {made[-1]['title']}"
    assert first["url"] == f"http://talktime.test/orders/{made[-1]['id']}"
    seen = [item["id"] for item in page["items"]]
    while page["next_cursor"]:
        page = await inbox(expert, f"?limit=2&cursor={page['next_cursor']}")
        seen += [item["id"] for item in page["items"]]
    assert len(set(seen)) == len(seen) == 5
    assert await expert.post("/notifications/read", {"ids": seen[:2]}) == (200, {"unread": 3})
    unread = await inbox(expert, "?unread=true")
    assert {item["id"] for item in unread["items"]} == set(seen[2:])
    # Nobody reads or marks what is another's.
    assert (await inbox(customer))["items"] == []
    await customer.post("/notifications/read", {"ids": seen})
    assert (await inbox(expert))["unread"] == 3
    assert await expert.post("/notifications/read", {}) == (200, {"unread": 0})
    assert (await world.stranger.get("/notifications"))[0] == 401


async def test_mails_about_the_account_are_not_in_the_inbox(world: World) -> None:
    await world.stranger.post(
        "/auth/register",
        {
            "email": CUSTOMER,
            "password": "violet tram 81 umbrella",
            "display_name": "Somebody",
            "consents": dict(world.deps.settings.preset.documents),
        },
    )
    page = await inbox(await world.sign_in(CUSTOMER))
    assert (page["items"], page["unread"]) == ([], 0)
    assert len(await world.mails(CUSTOMER)) == 1


async def test_what_is_muted_is_not_told_that_way(any_world: World) -> None:
    world = any_world
    customer, expert = await world.sign_in(CUSTOMER), await world.sign_in(EXPERT)
    path = "/me/notification-preferences"
    _, before = await expert.get(path)
    assert before["muted"] == []
    kinds = {kind["type"]: kind for kind in before["kinds"]}
    assert kinds["account.reset_password"]["can_be_muted"] is False
    status, now = await expert.put(path, {"muted": ["order.paid:email"]})
    assert (status, now["muted"]) == (200, ["order.paid:email"])
    await customer.order(PER_QUARTER)
    assert await world.mails(EXPERT) == []
    assert (await inbox(expert))["unread"] == 1
    world.engine.pushed.clear()
    await expert.put(path, {"muted": ["order.paid:email", "order.paid:inapp"]})
    await customer.order(PER_QUARTER)
    assert (await inbox(expert))["unread"] == 1
    assert world.engine.pushed == []
    await expert.put(path, {"muted": []})
    await customer.order(PER_QUARTER)
    assert len(await world.mails(EXPERT)) == 1
    for muted, code in (
        ("account.reset_password:email", "cannot_be_muted"),
        ("order.paid:sms", "unknown_notice"),
        ("nonsense", "unknown_notice"),
    ):
        status, refusal = await expert.put(path, {"muted": [muted]})
        assert (status, refusal["code"]) == (422, code)
