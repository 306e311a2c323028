"""Registering, confirming, resetting, refreshing, and one's own account."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
import sqlalchemy as sa

from admin import demo
from admin.accounts.passwords import Passwords
from admin.accounts.tokens import LIFE_MS
from admin.ports import AccountLimits
from admin.presets import PRESETS
from engine.ids import new_id
from engine.ratelimit import Rate
from engine.store.database import Store
from engine.store.market_tables import account_tokens, consents, files, notifications
from engine.store.tables import experts, outbox, users
from tests.integration.admin.conftest import (
    CUSTOMER,
    EXPERT,
    PER_QUARTER,
    SECRET,
    STAFF,
    Api,
    World,
)
from tests.integration.admin.test_payments import succeed
from tests.integration.admin.test_staff import Browser
from tests.support.virtual_clock import VirtualClock

DOCUMENTS = dict(PRESETS["infotwip"].documents)
PASSWORD = "violet tram 81 umbrella"
OTHER = "quiet harbour 52 lantern"
NEW = "nadia@example.org"


def form(**changes: Any) -> dict[str, Any]:
    return {
        "email": NEW,
        "password": PASSWORD,
        "display_name": "Nadia Ilves",
        "consents": DOCUMENTS,
    } | changes


def token_in(text: str) -> str:
    found = re.search(r"http://talktime\.test/[a-z-]+\?token=([\w-]+)", text)
    assert found is not None, text
    return found[1]


async def register(world: World, email: str = NEW) -> Api:
    """A member with a confirmed address, signed in."""
    status, answer = await world.stranger.post("/auth/register", form(email=email))
    assert (status, answer) == (202, {"sent": True})
    mail = (await world.mails(email))[-1]
    status, _ = await world.stranger.post("/auth/verify-email", {"token": token_in(mail.text)})
    assert status == 200
    return await sign_in(world, email)


async def sign_in(world: World, email: str, password: str = PASSWORD) -> Api:
    status, login = await world.stranger.post("/auth/login", {"email": email, "password": password})
    assert status == 200, login
    api = Api(world.client, login["access_token"], login["user"]["id"])
    api.refresh_token = login["refresh_token"]  # type: ignore[attr-defined]
    return api


async def mail_wanted(world: World, to: str, type_: str, count: int = 1) -> Any:
    """The mail of that kind, once what writes it in the background is done."""
    query = (
        sa.select(sa.func.count())
        .select_from(notifications.join(users))
        .where(users.c.email == to, notifications.c.type == type_)
    )
    async with asyncio.timeout(30):
        while True:
            async with world.store.reading() as tx:
                if await tx.scalar(query) == count:
                    return (await world.mails(to))[-1]
            await asyncio.sleep(0.01)


async def use_account(world: World, email: str, **values: Any) -> None:
    async with world.store.transaction() as tx:
        await tx.execute(sa.update(users).where(users.c.email == email).values(values))


# Registration -------------------------------------------------------------------------------------


async def test_B14_B15_registering_sends_a_mail_and_its_link_opens_the_account(
    any_world: World,
) -> None:
    world = any_world
    status, answer = await world.stranger.post(
        "/auth/register", form(email=" Nadia@EXAMPLE.org ", locale="ru-RU", timezone="Asia/Tbilisi")
    )
    assert (status, answer) == (202, {"sent": True})
    login = {"email": NEW, "password": PASSWORD}
    status, refusal = await world.stranger.post("/auth/login", login)
    assert (status, refusal["code"]) == (401, "wrong_credentials")
    (mail,) = await world.mails(NEW)
    assert mail.subject == "Подтвердите адрес электронной почты"
    token = token_in(mail.text)
    assert (await world.stranger.post("/auth/verify-email", {"token": token}))[0] == 200
    member = await sign_in(world, NEW)
    _, me = await member.get("/me")
    assert (me["roles"], me["locale"], me["timezone"]) == (["member"], "ru", "Asia/Tbilisi")
    assert (me["email_verified"], me["consents_due"], me["permissions"]) == (True, {}, [])
    async with world.store.reading() as tx:
        types = (await tx.scalars(sa.select(outbox.c.type).order_by(outbox.c.seq))).all()
    assert [one for one in types if one.startswith("user.")] == ["user.registered", "user.verified"]
    assert await world.mails(NEW) == [mail]


async def test_a_taken_address_is_told_by_mail_alone(any_world: World) -> None:
    world = any_world
    for email in (CUSTOMER, CUSTOMER.upper()):
        status, answer = await world.stranger.post("/auth/register", form(email=email))
        assert (status, answer) == (202, {"sent": True})
    told = await world.mails(CUSTOMER)
    assert [mail.subject for mail in told] == ["You have an account at InfoTwip already"] * 2
    # Neither the new password nor the old one has become anything else.
    for password, expected in ((PASSWORD, 401), (demo.PASSWORD, 200)):
        body = {"email": CUSTOMER, "password": password}
        assert (await world.stranger.post("/auth/login", body))[0] == expected
    async with world.store.reading() as tx:
        assert await tx.scalar(sa.select(sa.func.count()).select_from(consents)) == 0


async def test_the_same_work_is_done_for_known_and_unknown_addresses(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []
    hash_ = Passwords.hash

    async def count(passwords: Passwords, password: str) -> str:
        hashed.append(password)
        return await hash_(passwords, password)

    monkeypatch.setattr(Passwords, "hash", count)
    for email in (CUSTOMER, NEW):
        assert (await world.stranger.post("/auth/register", form(email=email)))[0] == 202
        assert len(hashed) == 1
        hashed.clear()
    # What depends on the account is looked up after the answer.
    looked = asyncio.Event()
    reading = world.store.reading

    def note() -> Any:
        looked.set()
        return reading()

    monkeypatch.setattr(world.store, "reading", note)
    for path in ("/auth/password-reset", "/auth/verify-email/resend"):
        for email in (CUSTOMER, "nobody@example.org"):
            looked.clear()
            answer = await world.stranger.post(path, {"email": email})
            assert answer == (202, {"sent": True})
            await asyncio.wait_for(looked.wait(), 30)


async def test_an_attackers_registration_of_ones_address_is_taken_over_by_its_owner(
    world: World,
) -> None:
    """Without the mailbox the attacker's password never opens anything."""
    await world.stranger.post("/auth/register", form(password=OTHER, display_name="Mallory"))
    await world.stranger.post("/auth/register", form())
    taken, confirm = sorted(await world.mails(NEW), key=lambda mail: "/verify" in mail.text)
    assert "already" in taken.subject
    assert "Mallory" not in taken.text + confirm.text  # nor may a stranger's name be sent around
    body = {"token": token_in(taken.text), "password": PASSWORD}
    assert (await world.stranger.post("/auth/password-reset/confirm", body))[0] == 200
    await sign_in(world, NEW)
    status, _ = await world.stranger.post("/auth/login", {"email": NEW, "password": OTHER})
    assert status == 401


async def test_two_registrations_of_one_address_at_once_make_one_account(
    any_world: World,
) -> None:
    world = any_world
    answers = await asyncio.gather(
        *(world.stranger.post("/auth/register", form()) for _ in range(6))
    )
    assert answers == [(202, {"sent": True})] * 6
    async with world.store.reading() as tx:
        query = sa.select(sa.func.count()).select_from(users).where(users.c.email == NEW)
        assert await tx.scalar(query) == 1
    subjects = [mail.subject for mail in await world.mails(NEW)]
    assert subjects.count("Please confirm your e-mail address") == 1
    assert len(subjects) == 6


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"email": "nobody"}, "invalid_email"),
        ({"email": "a@b\r\nBcc: c@d.org"}, "invalid_email"),
        ({"email": "a@@example.org"}, "invalid_email"),
        ({"email": "a@example"}, "invalid_email"),
        ({"email": ("x" * 65) + "@example.org"}, "invalid_email"),
        ({"email": "x@" + "a." * 125 + "org"}, "invalid_body"),
        ({"email": "а@example.org"}, "invalid_email"),
        ({"email": "a\x00@example.org"}, "invalid_body"),
        ({"password": "short"}, "password_too_short"),
        ({"password": "password123456"}, "password_too_common"),
        ({"password": "Nadia.Ilves.2026"}, "password_too_common"),
        ({"password": "x" * 300}, "invalid_body"),
        ({"display_name": "   "}, "invalid_display_name"),
        ({"display_name": "\u202eevil"}, "invalid_display_name"),
        ({"display_name": "n" * 81}, "invalid_display_name"),
        ({"display_name": "a\x00b"}, "invalid_body"),
        ({"locale": "tlh"}, "unknown_locale"),
        ({"timezone": "../../etc/passwd"}, "unknown_timezone"),
        ({"timezone": "America"}, "unknown_timezone"),
        ({"consents": {}}, "consent_missing"),
        ({"consents": DOCUMENTS | {"terms": "1999"}}, "unknown_document"),
        ({"consents": DOCUMENTS | {"soul": "1"}}, "unknown_document"),
        ({"roles": ["admin"]}, "invalid_body"),
    ],
)
async def test_what_cannot_be_an_account_is_refused(
    world: World, changes: dict[str, Any], code: str
) -> None:
    status, refusal = await world.stranger.post("/auth/register", form(**changes))
    assert (status, refusal["code"]) == (422, code), refusal
    async with world.store.reading() as tx:
        assert await tx.scalar(sa.select(sa.func.count()).select_from(notifications)) == 0


async def test_names_and_passwords_of_the_whole_world_are_taken(world: World) -> None:
    name, password = "زهرا می‌خواهد 李小龍", "گذرواژهٔ بسیار خوب ۱۴۰۵"
    body = form(email="a@bücher.example", display_name=name, password=password)
    assert (await world.stranger.post("/auth/register", body))[0] == 202
    (mail,) = await world.mails("a@xn--bcher-kva.example")
    await world.stranger.post("/auth/verify-email", {"token": token_in(mail.text)})
    member = await sign_in(world, "a@Bücher.example", password)
    assert (await member.get("/me"))[1]["display_name"] == name


async def test_registrations_and_mails_are_limited(store: Store) -> None:
    limits = AccountLimits(registrations=Rate(0.001, 4), mails=Rate(0.001, 2))
    world = World(store, account_limits=limits)
    await world.start()
    post = world.stranger.post
    assert (await post("/auth/password-reset", {"email": CUSTOMER}))[0] == 202
    assert (await post("/auth/register", form(email=CUSTOMER)))[0] == 202
    for email in (CUSTOMER, "nobody@example.org", "nobody@example.org", "nobody@example.org"):
        status, refusal = await post("/auth/password-reset", {"email": email})
        if email == CUSTOMER:
            assert (status, refusal["code"]) == (429, "rate_limited")
    status, refusal = await post("/auth/register", form())
    assert (status, refusal["code"]) == (429, "rate_limited")
    assert await world.mails(NEW) == []
    await world.stop()


# Tokens -------------------------------------------------------------------------------------------


@pytest.fixture
async def timed(sqlite_url: str) -> Any:
    """A world in virtual time."""
    clock = VirtualClock()
    store = Store(sqlite_url, clock)
    made = World(store)
    await made.start()
    yield made, clock
    await made.stop()
    await store.close()


async def test_a_link_works_once_and_not_for_ever(timed: tuple[World, VirtualClock]) -> None:
    world, clock = timed
    post = world.stranger.post
    await post("/auth/register", form())
    token = token_in((await world.mails(NEW))[0].text)
    clock.advance(LIFE_MS["verify_email"] / 1000)
    status, refusal = await post("/auth/verify-email", {"token": token})
    assert (status, refusal["code"]) == (422, "token_expired")
    assert (await post("/auth/verify-email/resend", {"email": NEW}))[0] == 202
    await mail_wanted(world, NEW, "account.confirm_email", 2)
    token = token_in((await world.mails(NEW))[1].text)
    for bad in (token[:-1], token + "x", token.swapcase(), " ", "é" * 100):
        status, refusal = await post("/auth/verify-email", {"token": bad})
        assert (status, refusal["code"]) == (422, "token_invalid")
    # A link for one purpose serves no other.
    body = {"token": token, "password": OTHER}
    assert (await post("/auth/password-reset/confirm", body))[1]["code"] == "token_invalid"
    assert (await post("/auth/refresh", {"refresh_token": token}))[1]["code"] == "token_invalid"
    assert (await post("/auth/verify-email", {"token": token}))[0] == 200
    assert (await post("/auth/verify-email", {"token": token}))[1]["code"] == "token_invalid"


async def test_of_two_uses_at_once_one_succeeds(any_world: World) -> None:
    world = any_world
    await world.stranger.post("/auth/register", form())
    token = token_in((await world.mails(NEW))[0].text)
    uses = (world.stranger.post("/auth/verify-email", {"token": token}) for _ in range(5))
    assert sorted(status for status, _ in await asyncio.gather(*uses)) == [200, *[422] * 4]
    await world.stranger.post("/auth/password-reset", {"email": NEW})
    mail = await mail_wanted(world, NEW, "account.reset_password")
    body = {"token": token_in(mail.text), "password": OTHER}
    resets = (world.stranger.post("/auth/password-reset/confirm", body) for _ in range(4))
    assert sorted(status for status, _ in await asyncio.gather(*resets)) == [200, *[422] * 3]


async def test_the_store_knows_tokens_only_by_their_hash(world: World) -> None:
    member = await register(world)
    mail = (await world.mails(NEW))[0]
    secrets = {token_in(mail.text), member.refresh_token}  # type: ignore[attr-defined]
    async with world.store.reading() as tx:
        rows = (await tx.execute(sa.select(account_tokens))).all()
        notes = (await tx.execute(sa.select(notifications))).all()
    assert rows
    assert notes
    assert not any(secret in str(row) for secret in secrets for row in (*rows, *notes))


async def test_a_refresh_token_turns_into_the_next_pair(any_world: World) -> None:
    world = any_world
    member = await register(world)
    token = member.refresh_token  # type: ignore[attr-defined]
    status, pair = await world.stranger.post("/auth/refresh", {"refresh_token": token})
    assert status == 200
    assert pair["refresh_token"] != token
    assert (await Api(world.client, pair["access_token"]).get("/me"))[1]["email"] == NEW
    # The old one again: somebody has a copy, so the whole family ends.
    for old in (token, pair["refresh_token"]):
        status, refusal = await world.stranger.post("/auth/refresh", {"refresh_token": old})
        assert (status, refusal["code"]) == (401, "token_invalid")
    await sign_in(world, NEW)


async def test_of_a_refresh_token_used_twice_at_once_no_family_is_left(any_world: World) -> None:
    world = any_world
    member = await register(world)
    body = {"refresh_token": member.refresh_token}  # type: ignore[attr-defined]
    answers = await asyncio.gather(*(world.stranger.post("/auth/refresh", body) for _ in range(3)))
    pairs = [answer for status, answer in answers if status == 200]
    assert len(pairs) == 1
    body = {"refresh_token": pairs[0]["refresh_token"]}
    assert (await world.stranger.post("/auth/refresh", body))[0] == 401


async def test_a_refresh_token_does_not_live_for_ever(timed: tuple[World, VirtualClock]) -> None:
    world, clock = timed
    member = await register(world)
    clock.advance(LIFE_MS["refresh"] / 1000)
    body = {"refresh_token": member.refresh_token}  # type: ignore[attr-defined]
    status, refusal = await world.stranger.post("/auth/refresh", body)
    assert (status, refusal["code"]) == (401, "token_expired")


async def test_signing_out_ends_this_sign_in_or_all(timed: tuple[World, VirtualClock]) -> None:
    world, clock = timed
    one = await register(world)
    two = await sign_in(world, NEW)
    first = {"refresh_token": one.refresh_token}  # type: ignore[attr-defined]
    second = {"refresh_token": two.refresh_token}  # type: ignore[attr-defined]
    assert (await world.stranger.post("/auth/logout", first))[0] == 200
    assert (await world.stranger.post("/auth/logout", first))[0] == 200
    assert (await world.stranger.post("/auth/logout", {"refresh_token": "nonsense"}))[0] == 200
    assert (await world.stranger.post("/auth/refresh", first))[0] == 401
    status, pair = await world.stranger.post("/auth/refresh", second)
    assert status == 200
    clock.advance(1)
    body = {"refresh_token": pair["refresh_token"], "everywhere": True}
    assert (await world.stranger.post("/auth/logout", body))[0] == 200
    status, refusal = await two.get("/me")
    assert (status, refusal["code"]) == (401, "token_revoked")
    assert world.engine.dismissed == [(two.user_id, "token_revoked")]


# Passwords ----------------------------------------------------------------------------------------


async def test_a_forgotten_password_is_replaced_by_mail(timed: tuple[World, VirtualClock]) -> None:
    world, clock = timed
    post = world.stranger.post
    member = await register(world)
    clock.advance(1)
    await post("/auth/password-reset", {"email": NEW})
    mail = await mail_wanted(world, NEW, "account.reset_password")
    token = token_in(mail.text)
    # A weak password leaves the link as it was.
    weak = {"token": token, "password": "1234567890"}
    assert (await post("/auth/password-reset/confirm", weak))[1]["code"] == "password_too_common"
    good = {"token": token, "password": OTHER}
    assert (await post("/auth/password-reset/confirm", good))[0] == 200
    status, refusal = await member.get("/me")
    assert (status, refusal["code"]) == (401, "token_revoked")
    body = {"refresh_token": member.refresh_token}  # type: ignore[attr-defined]
    assert (await post("/auth/refresh", body))[0] == 401
    assert (await post("/auth/login", {"email": NEW, "password": PASSWORD}))[0] == 401
    await sign_in(world, NEW, OTHER)
    assert (await world.mails(NEW))[-1].subject == "Your password was changed"
    assert world.engine.dismissed == [(member.user_id, "token_revoked")]


async def test_a_changed_password_ends_every_other_sign_in(
    timed: tuple[World, VirtualClock],
) -> None:
    world, clock = timed
    one, two = await register(world), await sign_in(world, NEW)
    clock.advance(0.001)
    body = {"current_password": "wrong", "password": OTHER}
    assert (await one.post("/me/password", body))[1]["code"] == "wrong_password"
    body["current_password"] = PASSWORD
    status, pair = await one.post("/me/password", body)
    assert status == 200
    assert (await two.get("/me"))[1]["code"] == "token_revoked"
    assert (await Api(world.client, pair["access_token"]).get("/me"))[0] == 200
    fresh = {"refresh_token": pair["refresh_token"]}
    assert (await world.stranger.post("/auth/refresh", fresh))[0] == 200


async def test_a_suspended_owner_cannot_reset_the_password(world: World) -> None:
    await use_account(world, CUSTOMER, state="suspended")
    await world.stranger.post("/auth/password-reset", {"email": CUSTOMER})
    await world.stranger.post("/auth/password-reset", {"email": EXPERT})
    await mail_wanted(world, EXPERT, "account.reset_password")
    assert await world.mails(CUSTOMER) == []


# One's own account --------------------------------------------------------------------------------


async def test_B52_members_edit_their_profile(any_world: World) -> None:
    member = await register(any_world)
    photo = new_id("fil")
    async with any_world.store.transaction() as tx:
        row = {"purpose": "photo", "name": "me.png", "type": "image/png", "size_bytes": 1}
        row |= {"id": photo, "owner_id": member.user_id, "sha256": "0", "state": "ready"}
        await tx.execute(sa.insert(files).values(row | {"created_at_ms": 0}))
    status, me = await member.patch(
        "/me",
        {
            "display_name": "  Nadia   I. ",
            "locale": "ru",
            "timezone": "Europe/Riga",
            "phone": "+371 (2) 123-45-67",
            "photo_file_id": photo,
        },
    )
    assert status == 200
    assert (me["display_name"], me["locale"], me["timezone"]) == ("Nadia I.", "ru", "Europe/Riga")
    assert (me["phone"], me["photo_file_id"]) == ("+37121234567", photo)
    assert (await member.patch("/me", {"phone": None}))[1]["phone"] is None
    other = await any_world.sign_in(CUSTOMER)
    for path, body, code in (
        (other, {"photo_file_id": photo}, "file_not_usable"),
        (member, {"phone": "12"}, "invalid_phone"),
        (member, {"email": "x@example.org"}, "invalid_body"),
        (member, {"roles": ["admin"]}, "invalid_body"),
        (member, {"locale": "fa"}, "unknown_locale"),
    ):
        status, refusal = await path.patch("/me", body)
        assert (status, refusal["code"]) == (422, code)
    assert (await member.get("/me"))[1]["photo_file_id"] == photo


async def test_B49_consents_are_kept_with_version_and_time(world: World) -> None:
    customer = await world.sign_in(CUSTOMER)
    status, found = await world.stranger.get("/auth/documents")
    assert (status, found["documents"]) == (200, DOCUMENTS)
    assert (await customer.get("/me"))[1]["consents_due"] == DOCUMENTS
    given = {"terms": DOCUMENTS["terms"]}
    _, me = await customer.post("/me/consents", {"consents": given})
    assert me["consents_due"] == {"privacy": DOCUMENTS["privacy"]}
    status, refusal = await customer.post("/me/consents", {"consents": {"terms": "old"}})
    assert (status, refusal["code"]) == (422, "unknown_document")


async def test_an_export_has_what_is_ones_own_and_no_secret(any_world: World) -> None:
    customer = await any_world.sign_in(CUSTOMER)
    order = await customer.order(PER_QUARTER)
    status, found = await customer.get("/me/export")
    assert status == 200
    assert found["user"][0]["email"] == CUSTOMER
    assert [one["id"] for one in found["orders"]] == [order["id"]]
    assert found["accounts"][0]["held_minor"] > 0
    assert found["payments"]
    assert "argon2" not in str(found)
    stranger = await any_world.sign_in("jonas@demo.talktime.test")
    _, other = await stranger.get("/me/export")
    assert CUSTOMER not in str(other)
    assert other["orders"] == []


async def test_an_account_is_erased_but_not_while_something_is_left(any_world: World) -> None:
    world = any_world
    member = await register(world)
    customer = await world.sign_in(CUSTOMER)
    right, wrong = {"password": demo.PASSWORD}, {"password": "not mine"}
    assert (await customer.delete("/me", wrong))[1]["code"] == "wrong_password"
    status, refusal = await customer.delete("/me", right)
    assert (status, refusal["code"]) == (409, "balance_left")
    order = await customer.order(PER_QUARTER)
    assert (await customer.delete("/me", right))[1]["code"] == "orders_open"
    expert = await world.sign_in(EXPERT)
    assert (await expert.delete("/me", right))[1]["code"] == "orders_open"
    await customer.post(f"/orders/{order['id']}/cancel")
    await customer.top_up(500)
    assert (await customer.delete("/me", right))[1]["code"] == "payments_pending"
    status, answer = await member.delete("/me", {"password": PASSWORD})
    assert (status, answer) == (200, {"id": member.user_id, "state": "erased"})
    assert (await member.get("/me"))[0] == 401
    async with world.store.reading() as tx:
        row = (await tx.execute(sa.select(users).where(users.c.id == member.user_id))).one()
    assert "nadia" not in str(row).lower()
    assert (member.user_id, "account_suspended") in world.engine.dismissed
    # The address is free again, and the erased account hears of nothing.
    await register(world)


async def test_no_money_reaches_an_account_that_was_erased(any_world: World) -> None:
    """A payment that was given up for lost, and a refund of what it had bought."""
    world = any_world
    member, staff = await register(world), await world.sign_in(STAFF)
    await succeed(world, await member.top_up(1_200), 1_200)
    order = await member.order(PER_QUARTER)
    await world.capture(await world.session(order["id"]), 1_200)
    await member.post(f"/orders/{order['id']}/close")
    late = await member.top_up(2_500)
    await succeed(world, late, 2_500, type="payment.failed")
    assert (await member.delete("/me", {"password": PASSWORD}))[0] == 200
    for _ in range(2):
        assert (await succeed(world, late, 2_500))[0] == 200  # heard, and not to be sent again
    refund = {"amount_minor": 250, "reason": "not as agreed"}
    status, refusal = await staff.post(f"/admin/orders/{order['id']}/refund", refund)
    assert (status, refusal["code"]) == (409, "account_erased")
    async with world.store.reading() as tx:
        wallet = await world.ledger.wallet(tx, member.user_id, "EUR")
    assert wallet.balance_minor == 0
    _, page = await staff.get("/admin/cases?kind=payment")
    (case,) = page["items"]
    assert case["title"] == "Money came at test for an erased account"


async def test_an_account_without_an_owner_is_set_right_to_nothing_at_most(world: World) -> None:
    member, browser = await register(world), Browser(world)
    assert (await member.delete("/me", {"password": PASSWORD}))[0] == 200
    await browser.sign_in()
    path, form = f"/admin/users/{member.user_id}/adjust", {"account": "earnings", "reason": "why"}
    for once, amount, status in (
        ("a", "5", 409),
        ("b", "-5", 200),
        ("c", "6", 409),
        ("d", "5", 200),
    ):
        assert (await browser.post(path, once=once, amount=amount, **form))[0] == status, once


async def test_an_erased_expert_is_not_found_any_more(world: World) -> None:
    expert = await world.sign_in(EXPERT)
    assert (await expert.delete("/me", {"password": demo.PASSWORD}))[0] == 200
    _, page = await world.stranger.get("/listings")
    assert expert.user_id not in {one["expert"]["id"] for one in page["items"]}
    async with world.store.reading() as tx:
        query = sa.select(experts).where(experts.c.user_id == expert.user_id)
        row = (await tx.execute(query)).one()
    assert (row.active, row.about, row.headline, row.payout_details) == (False, "", "", None)


# Guards -------------------------------------------------------------------------------------------


async def test_T38_only_users_of_this_marketplace_order(world: World) -> None:
    body = {"listing_id": PER_QUARTER, "mode": "video"}
    status, refusal = await world.stranger.post("/orders", body)
    assert (status, refusal["code"]) == (401, "token_missing")
    forged = Api(world.client, world.tokens.issue_access("usr_nobody", ["member"]))
    assert (await forged.post("/orders", body))[0] == 401
    customer = await world.sign_in(CUSTOMER)
    assert (await customer.post("/orders", body))[0] == 201


async def test_O1_ordering_needs_a_confirmed_address(any_world: World) -> None:
    await use_account(any_world, CUSTOMER, email_verified_at_ms=None)
    customer = await any_world.sign_in(CUSTOMER)
    body = {"listing_id": PER_QUARTER, "mode": "video", "confirm": True}
    status, refusal = await customer.post("/orders", body)
    assert (status, refusal["code"]) == (403, "email_not_verified")
    assert (await customer.get("/orders"))[1]["items"] == []
    for refused in (
        await customer.post("/applications", {"about": "Advice"}),
        await customer.patch("/me/expert", {"headline": "Advice"}),
    ):
        assert (refused[0], refused[1]["code"]) == (403, "email_not_verified")


async def test_tampered_access_tokens_are_refused(world: World) -> None:
    member = await register(world)
    token = member.headers["Authorization"].removeprefix("Bearer ")
    head, claims, signature = token.split(".")
    for bad in (
        f"{head}.{claims[:-2]}AA.{signature}",
        f"{head}.{claims}.{signature[:-4]}AAAA",
        f"{head}.{claims}.",
        f"eyJhbGciOiJub25lIn0.{claims}.",
        "x" * 5_000,
    ):
        assert (await Api(world.client, bad).get("/me"))[1]["code"] == "token_invalid"
    assert SECRET not in token
