"""A small market over the REST surface, in virtual time: offers, parties, staff, their money."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from admin.cases.records import NewCase
from admin.cases.records import create as create_case
from admin.due import DUE
from admin.market.terms import DAY_S, Terms
from admin.market.timers import Timers
from admin.presets import AZMOUDEGAN
from engine.ids import new_id
from engine.metering.ledger import AccountKind
from engine.store.database import Store, Tx, insert_once
from engine.store.market_tables import (
    cases,
    categories,
    expert_categories,
    files,
    listing_revisions,
    marks,
    notifications,
    settings_versions,
)
from engine.store.tables import experts, listings, outbox, users
from tests.integration.admin.conftest import CUSTOMER, EXPERT, Api, World
from tests.support.virtual_clock import VirtualClock

_WORDS: dict[str, Any] = {
    "locales": ["en"],
    "title": {"en": "A thing well made"},
    "description": {"en": "By hand."},
    "category": "",
}
HAS_MINOR = 20_000
"""What the demo's customer has."""
FOREVER_S = 10**9


class Market:
    """One customer, one expert, and the terms of an infotwip."""

    def __init__(self, world: World, clock: VirtualClock) -> None:
        self.world = world
        self.clock = clock
        self.store = world.store

    async def start(self) -> None:
        await self.world.start()
        self.customer = await self.sign_in(CUSTOMER)
        self.expert = await self.sign_in(EXPERT)

    async def sign_in(self, email: str) -> Api:
        user_id = await self.world.user_id(email)
        token = self.world.tokens.issue_access(user_id, ["member"], FOREVER_S)
        return Api(self.world.client, token, user_id)

    async def member(self, name: str) -> Api:
        """Somebody with nothing."""
        return await self._person(name.title())

    async def staff(self, *roles: str) -> Api:
        """A member of the staff of their own."""
        return await self._person("Staff", *roles)

    async def _person(self, name: str, *roles: str) -> Api:
        user_id = new_id("usr")
        row = {
            "id": user_id,
            "email": f"{user_id}@staff.test",
            "display_name": name,
            "password_hash": "",
            "roles": ["member", *roles],
            "email_verified_at_ms": 0,
            "created_at_ms": 0,
        }
        async with self.store.transaction() as tx:
            await tx.execute(sa.insert(users).values(row))
        return await self.sign_in(row["email"])

    async def terms(self, **changes: Any) -> None:
        """New orders are under these."""
        async with self.store.transaction() as tx:
            newest = await tx.scalar(sa.select(sa.func.max(settings_versions.c.version))) or 0
            await tx.execute(
                sa.insert(settings_versions).values(
                    version=newest + 1,
                    data=msgspec.to_builtins(Terms(**changes)),
                    changed_by="test",
                    at_ms=0,
                )
            )

    async def offer(self, kind: str = "work", price_minor: int = 3_000, **content: Any) -> str:
        """A published listing of the expert; `content`: files, links, delivery_days."""
        listing_id = new_id("lst")
        delivery_days = content.pop("delivery_days", None)
        async with self.store.transaction() as tx:
            await tx.execute(
                sa.insert(listings).values(
                    id=listing_id,
                    expert_id=self.expert.user_id,
                    kind=kind,
                    title="A thing well made",
                    description="By hand.",
                    state="published",
                    tariffs={},
                    price_minor=price_minor,
                    delivery_days=delivery_days,
                    published_revision=1,
                    created_at_ms=self.clock.wall_ms(),
                )
            )
        await self.revise(listing_id, 1, **(_WORDS | content))
        return listing_id

    async def revise(self, listing_id: str, number: int, **content: Any) -> None:
        """Publish another revision."""
        async with self.store.transaction() as tx:
            await tx.execute(
                sa.insert(listing_revisions).values(
                    listing_id=listing_id,
                    number=number,
                    state="published",
                    content=content,
                    created_at_ms=self.clock.wall_ms(),
                )
            )
            await tx.execute(
                sa.update(listings)
                .where(listings.c.id == listing_id)
                .values(published_revision=number)
            )

    async def file(self, owner: Api, purpose: str, name: str = "plan.pdf") -> str:
        """A stored file's row and bytes."""
        file_id = new_id("fil")
        async with self.store.transaction() as tx:
            await tx.execute(
                sa.insert(files).values(
                    id=file_id,
                    owner_id=owner.user_id,
                    purpose=purpose,
                    name=name,
                    type="application/pdf",
                    size_bytes=4,
                    sha256="0" * 64,
                    state="ready",
                    created_at_ms=self.clock.wall_ms(),
                )
            )

        async def content() -> AsyncIterator[bytes]:
            yield b"%PDF"

        await self.world.deps.files.put(file_id, content())
        return file_id

    async def order(self, listing_id: str, *, confirm: bool = True, **body: Any) -> Any:
        sent = {"listing_id": listing_id, "confirm": confirm, **body}
        status, order = await self.customer.post("/orders", sent)
        assert status == 201, order
        return order

    async def work(self, price_minor: int = 3_000, **content: Any) -> str:
        """A paid order of work."""
        order = await self.order(await self.offer("work", price_minor, **content))
        assert order["state"] == "open"
        return str(order["id"])

    async def delivered(self, price_minor: int = 3_000, **content: Any) -> str:
        """A paid order of work that is done."""
        order_id = await self.work(price_minor, **content)
        await self.do(self.expert, order_id, "deliveries", {"text": "Here it is."}, status=201)
        await self.do(self.expert, order_id, "deliver")
        return order_id

    async def do(
        self, who: Api, order_id: str, action: str, body: Any = None, *, status: int = 200
    ) -> Any:
        """An action on an order that is expected to go well (or to be answered by `status`)."""
        answered, answer = await who.post(f"/orders/{order_id}/{action}", body)
        assert answered == status, answer
        return answer

    async def refused(
        self, who: Api, order_id: str, action: str, body: Any = None
    ) -> tuple[int, str]:
        """Status and code of a refusal."""
        status, answer = await who.post(f"/orders/{order_id}/{action}", body)
        assert status >= 400, answer
        return status, answer["code"]

    async def see(self, who: Api, order_id: str) -> Any:
        status, order = await who.get(f"/orders/{order_id}")
        assert status == 200, order
        return order

    async def dispute(self, who: Api, order_id: str, reason: str = "It is not as agreed.") -> str:
        """Open one; its case."""
        order = await self.do(who, order_id, "dispute", {"reason": reason})
        assert order["state"] == "disputed"
        return str(order["dispute_case_id"])

    async def complaint(self, who: Api, subject_type: str, subject_id: str) -> str:
        """A case about something; its id."""
        new = NewCase(
            kind="report",
            subject_type=subject_type,
            subject_id=subject_id,
            opened_by=who.user_id,
            title="A complaint",
        )
        async with self.store.transaction() as tx:
            return await create_case(self.world.deps, tx, new, members=[who.user_id])

    async def money(self) -> tuple[int, int, int, int]:
        """The customer's available and held, the expert's earned, the platform's fees."""
        available, held = await self.customer.wallet()
        _, wallet = await self.expert.get("/wallet")
        async with self.store.reading() as tx:
            fees = await self.world.ledger.balance(tx, AccountKind.FEES, "platform", "EUR")
        return available, held, wallet["earned"]["amount"], fees

    async def pass_time(self, seconds: float) -> int:
        """What the timers did once it has passed."""
        self.clock.advance(seconds)
        return await self.timers().work_off()

    def timers(self) -> Timers:
        return Timers(self.world.deps, DUE)

    async def expert_named(self, name: str, category: str = "") -> Api:
        """Another active expert."""
        user_id = f"usr_{name}"
        row = {
            "id": user_id,
            "email": f"{name}@experts.test",
            "display_name": name.title(),
            "password_hash": "",
            "roles": ["member", "expert"],
            "email_verified_at_ms": 0,
            "created_at_ms": 0,
        }
        async with self.store.transaction() as tx:
            await tx.execute(sa.insert(users).values(row))
            await tx.execute(sa.insert(experts).values(user_id=user_id, slug=name, languages=[]))
            if category:
                await self.practise(tx, user_id, category)
        return await self.sign_in(row["email"])

    async def practise(self, tx: Tx, expert_id: str, category: str) -> None:
        """Put an expert into a category."""
        values = {"id": f"cat_{category}", "slug": category, "names": {}}
        await insert_once(tx, categories, values)
        await tx.execute(
            sa.insert(expert_categories).values(expert_id=expert_id, category_id=f"cat_{category}")
        )

    async def block(self, who: Api, whom: Api) -> None:
        async with self.store.transaction() as tx:
            await tx.execute(
                sa.insert(marks).values(
                    user_id=who.user_id,
                    kind="block",
                    subject_type="user",
                    subject_id=whom.user_id,
                    at_ms=0,
                )
            )

    async def conversation(self, who: Api, other: Api) -> str:
        """The pair's conversation, opened by `who`."""
        status, found = await who.post("/conversations", {"user_id": other.user_id})
        assert status == 200, found
        return str(found["id"])

    async def say(self, who: Api, conversation_id: str, body: str, **more: Any) -> Any:
        path = f"/conversations/{conversation_id}/messages"
        status, answer = await who.post(path, {"body": body, **more})
        assert status == 201, answer
        return answer

    async def messages(self, who: Api, conversation_id: str) -> list[Any]:
        status, page = await who.get(f"/conversations/{conversation_id}/messages")
        assert status == 200, page
        return list(page["items"])

    async def expert_row(self) -> Any:
        async with self.store.reading() as tx:
            query = sa.select(experts).where(experts.c.user_id == self.expert.user_id)
            return (await tx.execute(query)).one()

    async def events(self, subject_id: str) -> list[str]:
        async with self.store.reading() as tx:
            query = sa.select(outbox.c.type).where(outbox.c.subject_id == subject_id)
            return list(await tx.scalars(query.order_by(outbox.c.seq)))

    async def told(self, who: Api) -> list[str]:
        """The types of a user's notifications, oldest first."""
        async with self.store.reading() as tx:
            n = notifications.c
            query = sa.select(n.type).where(n.user_id == who.user_id)
            return list(await tx.scalars(query.order_by(n.send_at_ms, n.created_at_ms, n.id)))

    async def case(self, case_id: str) -> Any:
        async with self.store.reading() as tx:
            return (await tx.execute(sa.select(cases).where(cases.c.id == case_id))).one()


DAY = float(DAY_S)


@pytest.fixture
async def bazaar(any_store_url: str) -> AsyncIterator[Market]:
    """The same people on a marketplace with negotiation, on both stores."""
    clock = VirtualClock()
    store = Store(any_store_url, clock)
    made = Market(World(store, preset=AZMOUDEGAN), clock)
    await made.start()
    yield made
    await made.world.stop()
    await store.close()


@pytest.fixture
async def market(any_store_url: str) -> AsyncIterator[Market]:
    """On both stores; the ledger is audited at the end of every test."""
    clock = VirtualClock()
    store = Store(any_store_url, clock)
    made = Market(World(store), clock)
    await made.start()
    yield made
    await made.world.stop()
    await store.close()
