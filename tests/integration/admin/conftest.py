"""The REST surface over a real store and ledger; only the engine's live part is stood in for."""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import pytest
import sqlalchemy as sa
from aiohttp import FormData
from aiohttp.test_utils import TestClient, TestServer

from admin import demo
from admin.accounts.links import secret_links
from admin.app import build_api
from admin.catalogue import categories
from admin.files.storage import LocalFolder
from admin.notices.delivery import Delivery
from admin.notices.mail import LogMailer, Mail
from admin.notices.sms import LogSms
from admin.notices.words import Words
from admin.payments.test_provider import TestProvider
from admin.ports import AccountLimits, AdminDeps, AdminSettings, LoginLimits, PasswordCost
from engine.audit import audit
from engine.auditing import Auditing
from engine.chat.service import ChatService
from engine.errors import NotFound
from engine.ids import new_id
from engine.metering.ledger import AccountKind, HoldPart, Ledger
from engine.metering.ledger.checks import CHECKS
from engine.metering.policy import Policy
from engine.ratelimit import Rate
from engine.session.measures import Measures
from engine.session.ports import LiveSessionView
from engine.signaling.messages import PresenceUpdated
from engine.signaling.presence import Presence
from engine.signaling.schema import events_document
from engine.signaling.settings import SignalingSettings
from engine.signaling.tokens import TokenService
from engine.store.database import Store
from engine.store.tables import orders, session_events, sessions, users
from tests.support.virtual_clock import VirtualClock

SECRET = "a secret of tests, long enough to sign"
CHEAP = PasswordCost(passes=1, memory_kib=8, lanes=1)
_BY_HAND = {
    "sessions_cost_what_they_should",
    "grace_is_kept",
    "ordinals_count_sessions",
    "sessions_are_run",
}
"""Checks that sessions written by hand break: nothing was served of what these tests capture, and
no engine runs them while months pass."""
CUSTOMER, EXPERT, STAFF = demo.CUSTOMER_EMAIL, demo.EXPERT_EMAIL, demo.STAFF_EMAIL
PER_QUARTER = "lst_demo_lease"
PER_MINUTE = "lst_demo_contract"
PER_SECOND = "lst_demo_vat"


@dataclass
class Engine:
    """What the admin asks of the live engine, and what it was told."""

    online: set[str] = field(default_factory=set)
    live: list[LiveSessionView] = field(default_factory=list)
    wallets_changed: list[tuple[str, str]] = field(default_factory=list)
    terminated: list[tuple[str, str]] = field(default_factory=list)
    retried: list[tuple[str, str]] = field(default_factory=list)
    running: bool = True
    media: str = "native"
    draining: bool = False
    measures: Measures = field(default_factory=Measures)
    recorded: dict[str, Path] = field(default_factory=dict)
    statuses: Presence | None = None
    """The engine's own keeper of statuses; who is online stays `online`."""

    dismissed: list[tuple[str, str]] = field(default_factory=list)
    pushed: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)

    def file(self, name: str) -> Path | None:
        return self.recorded.get(name)

    def dismiss_user(self, user_id: str, code: str, _message: str) -> None:
        self.dismissed.append((user_id, code))

    async def to_user(self, user_id: str, event: str, payload: dict[str, Any]) -> None:
        self.pushed.append((user_id, event, payload))

    def is_online(self, user_id: str) -> bool:
        return user_id in self.online

    def online_users(self) -> set[str]:
        return self.online

    async def set_status(self, user_id: str, status: str) -> PresenceUpdated:
        assert self.statuses is not None
        return await self.statuses.set_status(user_id, status)

    def in_live_session(self, user_id: str) -> bool:
        return any(user_id in (view.customer_id, view.expert_id) for view in self.live)

    def live_sessions(self) -> list[LiveSessionView]:
        return self.live

    async def wallet_changed(self, user_id: str, currency: str) -> None:
        self.wallets_changed.append((user_id, currency))

    async def terminate(self, session_id: str, *, by: str) -> None:
        for view in self.live:
            if view.session_id == session_id:
                self.live.remove(view)
                self.terminated.append((session_id, by))
                return
        raise NotFound("session_not_found", "There is no such session.")

    async def retry(self, session_id: str, *, by: str) -> None:
        self.retried.append((session_id, by))

    def metrics(self) -> dict[str, int]:
        return {"sessions_ringing": len(self.live), "checkpoints": 3}

    def quality(self) -> Measures:
        return self.measures

    def counters(self) -> dict[str, int]:
        return {"packets_in": 7}

    def chat_gate(self, user_id: str, session_id: str) -> Any:
        raise NotFound("session_not_found", "There is no such session.")

    async def require_open(self, tx: Any, gate: Any, user_id: str) -> None: ...

    async def message_stored(self, gate: Any) -> None: ...

    async def publish(self, *_: object) -> None: ...


class Api:
    """One user's view of the surface; without a token: a stranger's."""

    def __init__(self, client: TestClient[Any, Any], token: str = "", user_id: str = "") -> None:
        self.client = client
        self.user_id = user_id
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    async def get(self, path: str, **headers: str) -> tuple[int, Any]:
        async with self.client.get(f"/api/v1{path}", headers=self.headers | headers) as answer:
            return answer.status, await answer.json()

    async def post(
        self, path: str, body: Any = None, *, key: str | None = None, **headers: str
    ) -> tuple[int, Any]:
        sent = self.headers | headers | ({"Idempotency-Key": key} if key else {})
        async with self.client.post(f"/api/v1{path}", json=body, headers=sent) as answer:
            return answer.status, await answer.json()

    async def put(self, path: str, body: Any = None) -> tuple[int, Any]:
        url = f"/api/v1{path}"
        async with self.client.put(url, json=body, headers=self.headers) as answer:
            return answer.status, await answer.json()

    async def send(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """PUT, PATCH or DELETE."""
        async with self.client.request(
            method, f"/api/v1{path}", json=body, headers=self.headers
        ) as answer:
            return answer.status, await answer.json()

    async def upload(self, purpose: str, content: bytes, name: str = "a.bin") -> tuple[int, Any]:
        form = FormData(quote_fields=False)
        form.add_field("purpose", purpose)
        type_ = "application/octet-stream"
        form.add_field("file", io.BytesIO(content), filename=name, content_type=type_)
        async with self.client.post("/api/v1/files", data=form, headers=self.headers) as answer:
            return answer.status, await answer.json()

    async def patch(self, path: str, body: Any = None) -> tuple[int, Any]:
        url = f"/api/v1{path}"
        async with self.client.patch(url, json=body, headers=self.headers) as answer:
            return answer.status, await answer.json()

    async def delete(self, path: str, body: Any = None) -> tuple[int, Any]:
        url = f"/api/v1{path}"
        async with self.client.delete(url, json=body, headers=self.headers) as answer:
            return answer.status, await answer.json()

    async def order(self, listing: str, mode: str = "video", *, confirm: bool = True) -> Any:
        body = {"listing_id": listing, "mode": mode, "confirm": confirm}
        status, order = await self.post("/orders", body)
        assert status == 201, order
        return order

    async def wallet(self) -> tuple[int, int]:
        """Available and held."""
        _, wallet = await self.get("/wallet")
        return wallet["available"]["amount"], wallet["held"]["amount"]

    async def top_up(self, amount_minor: int, order_id: str | None = None) -> str:
        """A pending top-up; the provider's reference of it."""
        body = {"amount_minor": amount_minor, "order_id": order_id}
        status, top_up = await self.post("/wallet/top-ups", body)
        assert status == 201, top_up
        return str(top_up["checkout_url"]).rsplit("/", 1)[-1]


class World:
    """The surface, its store, and hands to do what the live engine does."""

    def __init__(self, store: Store, **settings: Any) -> None:
        self.store = store
        self.clock = store.clock
        self.engine = Engine()
        self.engine.statuses = Presence(store, self.clock, SignalingSettings())
        self.ledger = Ledger(self.clock)
        self.tokens = TokenService([SECRET], self.clock)
        self.provider = TestProvider(
            secret=SECRET, public_url="http://talktime.test", clock=self.clock
        )
        limits = LoginLimits(address=Rate(100, 100), account=Rate(100, 100))
        defaults: dict[str, Any] = {
            "public_url": "http://talktime.test",
            "secret": SECRET,
            "policy": Policy(commission_bps=2_000),
            "password_cost": CHEAP,
            "login_limits": limits,
            "account_limits": AccountLimits(*[Rate(100, 100)] * 3),
            "writes": Rate(1_000, 1_000),
        }
        self.audit_clock = VirtualClock()
        made = AdminSettings(**(defaults | settings))
        self.words = Words(made.preset, made.public_url, undefined=jinja2.StrictUndefined)
        self.mailer = LogMailer()
        self.sms = LogSms()
        self.delivery = Delivery(
            store,
            self.clock,
            words=self.words,
            mailer=self.mailer,
            sms=self.sms,
            outbound=self.engine,
            secrets=secret_links(self.words, self.clock),
        )
        self._folder = Path(tempfile.gettempdir(), new_id("talktime_files"))
        self.chat = ChatService(store, self.clock, self.engine)
        self.chat.connect(self.engine)
        self.deps = AdminDeps(
            store=store,
            clock=self.clock,
            ledger=self.ledger,
            auditing=Auditing(store, self.audit_clock, every_s=60),
            tokens=self.tokens,
            sessions=self.engine,
            presence=self.engine,
            chat=self.chat,
            media=self.engine,
            recordings=self.engine,
            outbound=self.engine,
            sockets=self.engine,
            delivery=self.delivery,
            words=self.words,
            files=LocalFolder(self._folder),
            settings=made,
            providers={self.provider.name: self.provider},
            events_document=events_document(),
        )
        self.client: TestClient[Any, Any] = TestClient(TestServer(build_api(self.deps)))

    async def start(self) -> None:
        await categories.seed(self.store, self.deps.settings.preset)
        await demo.load(
            self.store,
            self.ledger,
            self.clock,
            cost=CHEAP,
            preset=self.deps.settings.preset,
            storage=self.deps.files,
        )
        await self.client.start_server()

    async def stop(self) -> None:
        await self.client.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        report = await audit(self.store, [one for one in CHECKS if one.name not in _BY_HAND])
        assert report.ok, [check for check in report.checks if check.count]

    async def mails(self, to: str) -> list[Mail]:
        """Send whatever is due, and give all mails to that address, oldest first."""
        while await self.delivery.send_due():
            pass
        return [mail for mail in self.mailer.sent if mail.to == to]

    async def user_id(self, email: str) -> str:
        async with self.store.reading() as tx:
            found = await tx.scalar(sa.select(users.c.id).where(users.c.email == email))
        assert isinstance(found, str)
        return found

    async def sign_in(self, email: str) -> Api:
        user_id = await self.user_id(email)
        return Api(self.client, self.tokens.issue_access(user_id, ["member"]), user_id)

    @property
    def stranger(self) -> Api:
        return Api(self.client)

    async def set_balance(self, email: str, amount_minor: int) -> None:
        """Leave exactly so much available, by taking the rest away."""
        user_id = await self.user_id(email)
        async with self.store.transaction() as tx:
            wallet = await self.ledger.wallet(tx, user_id, "EUR")
            surplus = wallet.available_minor - amount_minor
            assert surplus > 0
            await self.ledger.adjust(
                tx,
                key=f"test:{new_id('x')}",
                kind=AccountKind.WALLET,
                user_id=user_id,
                currency="EUR",
                amount_minor=-surplus,
                reason="for a test",
            )

    async def session(self, order_id: str, **values: Any) -> str:
        """A stored session of the order, as the engine writes one; by default ended."""
        session_id = new_id("ses")
        now_ms = self.clock.wall_ms()
        async with self.store.transaction() as tx:
            order = (await tx.execute(sa.select(orders).where(orders.c.id == order_id))).one()
            row = {
                "id": session_id,
                "order_id": order_id,
                "customer_id": order.customer_id,
                "expert_id": order.expert_id,
                "mode": order.mode,
                "direction": "two_way",
                "state": "ended",
                "ordinal": 1,
                "end_reason": "completed",
                "ended_by": "customer",
                "rung_at_ms": now_ms - 90_000,
                "answered_at_ms": now_ms - 80_000,
                "started_at_ms": now_ms - 75_000,
                "metered_at_ms": now_ms - 70_000,
                "ended_at_ms": now_ms,
                "owner": "tests",
                "checkpoint_at_ms": now_ms,
            }
            await tx.execute(sa.insert(sessions).values(row | values))
        return session_id

    async def capture(self, session_id: str, amount_minor: int, number: int = 1) -> str:
        """Pay a block of the session from its order's hold; the transfer's id."""
        async with self.store.transaction() as tx:
            query = sa.select(sessions).where(sessions.c.id == session_id)
            row = (await tx.execute(query)).one()
            (hold,) = await self.ledger.open_holds(tx, order_id=row.order_id)
            paid = await self.ledger.capture(
                tx,
                key=f"session:{session_id}:capture:{number}",
                parts=[HoldPart(hold.id, amount_minor)],
                expert_id=row.expert_id,
                fee_minor=amount_minor // 5,
                order_id=row.order_id,
                session_id=session_id,
            )
            await tx.execute(
                sa.update(sessions)
                .where(sessions.c.id == session_id)
                .values(
                    captured_minor=sessions.c.captured_minor + amount_minor,
                    fee_minor=sessions.c.fee_minor + amount_minor // 5,
                )
            )
        return paid.transfer_id

    async def happened(self, session_id: str, *events: tuple[str, dict[str, Any]]) -> None:
        """Store the session's events."""
        async with self.store.transaction() as tx:
            for seq, (type_, data) in enumerate(events, 1):
                await tx.execute(
                    sa.insert(session_events).values(
                        session_id=session_id,
                        seq=seq,
                        type=type_,
                        at_ms=self.clock.wall_ms() + seq,
                        monotonic_ns=seq,
                        data=data,
                    )
                )


@pytest.fixture
async def world(store: Store) -> AsyncIterator[World]:
    """On SQLite."""
    made = World(store)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def any_world(any_store: Store) -> AsyncIterator[World]:
    """On SQLite and on PostgreSQL."""
    made = World(any_store)
    await made.start()
    yield made
    await made.stop()
