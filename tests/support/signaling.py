"""Signalling on a real HTTP server with real Socket.IO clients, virtual time and fake sessions."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from typing import Any, Literal

import aiohttp
import socketio
import sqlalchemy as sa
from aiohttp import web

from engine.chat.service import ChatService
from engine.ids import new_id
from engine.ratelimit import Rate
from engine.signaling.presence import Presence
from engine.signaling.server import Signaling, build_signaling
from engine.signaling.settings import SignalingSettings
from engine.signaling.standing import Standing
from engine.signaling.tokens import TokenService
from engine.signaling.transport import JSON_PATH, MSGPACK_PATH
from engine.store.database import Store, Tx
from engine.store.market_tables import conversation_members
from engine.store.tables import conversations, experts, listings, orders, users
from tests.support.fake_sessions import FakeSessions
from tests.support.virtual_clock import VirtualClock

SECRET = "a-secret-of-at-least-thirty-two-bytes"
_PATIENCE_S = 10.0
_UNLIMITED = Rate(1_000_000, 1_000_000)

Serializer = Literal["json", "msgpack"]


async def eventually(condition: Callable[[], object]) -> None:
    """Until the condition holds, letting everything else run meanwhile."""
    async with asyncio.timeout(_PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - what it waits for happens in a peer
            await asyncio.sleep(0)


def generous(**changes: Any) -> SignalingSettings:
    """Settings whose rates do not get in a test's way."""
    rates: dict[str, Any] = {
        "connection_rate": _UNLIMITED,
        "user_rate": _UNLIMITED,
        "event_rates": {},
    }
    return SignalingSettings(**(rates | changes))


class Client:
    """One device. `events[name]` lists the payloads received, in order; `order` all of them."""

    def __init__(self, url: str, serializer: Serializer = "json") -> None:
        self._url = url
        self._path = JSON_PATH if serializer == "json" else MSGPACK_PATH
        options: dict[str, Any] = {"reconnection": False, "handle_sigint": False}
        if serializer == "msgpack":
            options["serializer"] = "msgpack"
        self.socket = socketio.AsyncClient(**options)
        self.events: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.order: list[tuple[str, dict[str, Any]]] = []
        self.refused: Any = None
        self.closed = asyncio.Event()
        self._changed = asyncio.Condition()
        self.socket.on("*", self._on_event, namespace="/rt")
        self.socket.on("connect_error", self._on_refused, namespace="/rt")
        self.socket.on("disconnect", self._on_disconnect, namespace="/rt")

    async def connect(self, token: object, *, polling: bool = False) -> None:
        await self.socket.connect(
            self._url,
            namespaces=["/rt"],
            auth={"token": token},
            transports=["polling"] if polling else ["websocket"],
            socketio_path=self._path,
            wait_timeout=_PATIENCE_S,
        )

    @property
    def device(self) -> str:
        return str(self.socket.namespaces["/rt"])

    async def ack(self, event: str, payload: Any = None) -> dict[str, Any]:
        answer = await self.socket.call(event, payload, namespace="/rt", timeout=_PATIENCE_S)
        assert isinstance(answer, dict)
        return answer

    async def ok(self, event: str, **payload: Any) -> dict[str, Any]:
        answer = await self.ack(event, payload)
        assert answer["ok"] is True, answer
        return answer

    async def code(self, event: str, **payload: Any) -> str:
        answer = await self.ack(event, payload)
        assert answer["ok"] is False, answer
        return str(answer["code"])

    async def wait_for(self, event: str, count: int = 1) -> dict[str, Any]:
        """The `count`-th payload of `event`, waiting for it if it has not come yet."""
        async with self._changed, asyncio.timeout(_PATIENCE_S):
            await self._changed.wait_for(lambda: len(self.events[event]) >= count)
        return self.events[event][count - 1]

    async def settle(self) -> None:
        """Everything the server had sent before this has arrived."""
        await self.ok("presence.unsubscribe", expert_ids=[])

    async def until_closed(self) -> None:
        async with asyncio.timeout(_PATIENCE_S):
            await self.closed.wait()

    async def close(self) -> None:
        await self.socket.disconnect()

    async def _on_event(self, event: str, payload: dict[str, Any]) -> None:
        async with self._changed:
            self.events[event].append(payload)
            self.order.append((event, payload))
            self._changed.notify_all()

    async def _on_refused(self, data: Any) -> None:
        self.refused = data

    async def _on_disconnect(self, _reason: str = "") -> None:
        self.closed.set()


class Site:
    """A running server, its people and one open order between them."""

    def __init__(self, store: Store, settings: SignalingSettings) -> None:
        self.store = store
        self.clock = VirtualClock()
        self.settings = settings
        self.tokens = TokenService([SECRET], self.clock)
        self.sessions = FakeSessions(store, self.clock)
        self.presence = Presence(store, self.clock, settings)
        self.chat = ChatService(store, self.clock, self.sessions)
        self.signaling: Signaling = build_signaling(
            sessions=self.sessions,
            chat=self.chat,
            presence=self.presence,
            tokens=self.tokens,
            standing=Standing(store),
            settings=settings,
            clock=self.clock,
        )
        self.sessions.connect(self.signaling.outbound, self.presence)
        self.url = ""
        self.customer, self.expert, self.stranger = "usr_customer", "usr_expert", "usr_stranger"
        self.order_id, self.conversation_id = "ord_1", "cnv_1"
        self._clients: list[Client] = []
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        await self._seed()
        app = web.Application()
        self.signaling.attach(app)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        await self.signaling.start()

    async def stop(self) -> None:
        for client in self._clients:
            await client.close()
        await self.signaling.stop()
        assert self._runner is not None
        await self._runner.cleanup()

    def client(self, serializer: Serializer = "json") -> Client:
        client = Client(self.url, serializer)
        self._clients.append(client)
        return client

    async def sign_in(
        self, user_id: str, serializer: Serializer = "json", *, polling: bool = False
    ) -> Client:
        client = self.client(serializer)
        await client.connect(self.tokens.issue_access(user_id, ["member"]), polling=polling)
        await self.signaling.settle()
        return client

    async def refused(self, token: object, serializer: Serializer = "json") -> dict[str, Any]:
        """What a CONNECT with this token is refused with."""
        client = self.client(serializer)
        with contextlib.suppress(socketio.exceptions.ConnectionError):
            await client.connect(token)
        assert client.refused is not None, "was accepted"
        return dict(client.refused["data"])

    async def pass_time(self, seconds: float) -> None:
        """Virtual time passes, and what it set off is done."""
        self.clock.advance(seconds)
        await self.signaling.settle()

    def http(self, **options: Any) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(self.url, **options)

    async def running(self, customer: Client, expert: Client, mode: str = "text") -> str:
        """An answered session between two devices; its id."""
        await expert.ok("presence.set", status="available")
        invited = await customer.ok("call.invite", order_id=self.order_id, mode=mode)
        session_id = str(invited["session_id"])
        await expert.ok("call.accept", session_id=session_id)
        return session_id

    async def publish_listing(self, state: str = "published") -> None:
        async with self.store.transaction() as tx:
            await tx.execute(sa.update(listings).values(state=state))

    async def add_order(self, order_id: str, customer_id: str, conversation_id: str) -> None:
        async with self.store.transaction() as tx:
            values = {
                "id": order_id,
                "number": order_id,
                "customer_id": customer_id,
                "expert_id": self.expert,
                "title": "Advice",
                "fulfilment": "live",
                "mode": "text",
                "tariff": {},
                "policy": {},
                "currency": "EUR",
                "prepay_minor": 0,
                "state": "open",
                "created_at_ms": 0,
                "updated_at_ms": 0,
            }
            await tx.execute(sa.insert(orders).values(**values))
            await tx.execute(
                sa.insert(conversations).values(
                    id=conversation_id, kind="order", order_id=order_id, created_at_ms=0
                )
            )
            await self.join_conversation(tx, conversation_id, customer_id, self.expert)

    async def add_conversation(self, conversation_id: str, kind: str, *members: str) -> None:
        async with self.store.transaction() as tx:
            row = {"id": conversation_id, "kind": kind, "topic": conversation_id}
            await tx.execute(sa.insert(conversations).values(**row, created_at_ms=0))
            await self.join_conversation(tx, conversation_id, *members)

    async def join_conversation(self, tx: Tx, conversation_id: str, *members: str) -> None:
        for user_id in members:
            member = {"conversation_id": conversation_id, "user_id": user_id}
            await tx.execute(sa.insert(conversation_members).values(member))

    async def _seed(self) -> None:
        async with self.store.transaction() as tx:
            for user_id in (self.customer, self.expert, self.stranger):
                await tx.execute(
                    sa.insert(users).values(
                        id=user_id,
                        email=f"{user_id}@example.test",
                        display_name=user_id,
                        password_hash="-",
                        roles=["member"],
                        created_at_ms=0,
                    )
                )
            await tx.execute(
                sa.insert(experts).values(user_id=self.expert, slug="expert", languages=["en"])
            )
            await tx.execute(
                sa.insert(listings).values(
                    id=new_id("lst"),
                    expert_id=self.expert,
                    kind="consult",
                    title="Advice",
                    description="Advice",
                    state="published",
                    tariffs={},
                    created_at_ms=0,
                )
            )
        await self.add_order(self.order_id, self.customer, self.conversation_id)


@contextlib.asynccontextmanager
async def running_site(
    store: Store, settings: SignalingSettings | None = None
) -> AsyncIterator[Site]:
    site = Site(store, settings or generous())
    await site.start()
    try:
        yield site
    finally:
        await site.stop()
