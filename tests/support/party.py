"""One user without a browser: REST by aiohttp, signalling by Socket.IO, media by an aiortc peer."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from typing import Any, Self

import aiohttp
import socketio
from aiortc import RTCIceServer

from tests.support.media_peer import AiortcPeer, eventually

_PATIENCE_S = 10


class Refused(Exception):
    """A command was refused: the code and the whole answer."""

    def __init__(self, answer: dict[str, Any]) -> None:
        super().__init__(answer.get("code"))
        self.code = answer.get("code")
        self.answer = answer


class Party:
    """A signed-in user. `events[name]` lists the payloads received, in order."""

    def __init__(self, url: str, http: aiohttp.ClientSession, user: dict[str, Any]) -> None:
        self.url = url
        self.http = http
        self.user = user
        self.token = ""
        self.socket = socketio.AsyncClient(reconnection=False)
        self.events: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.peer: AiortcPeer | None = None
        self.relayed = False
        """Whether its media take the TURN server that the engine names, and no other way."""
        self._leg_id = ""
        self._changed = asyncio.Condition()
        self._answering: set[asyncio.Task[None]] = set()

    @classmethod
    async def sign_in(cls, url: str, email: str, password: str, *, connect: bool = True) -> Self:
        http = aiohttp.ClientSession(base_url=url)
        body = {"email": email, "password": password}
        async with http.post("/api/v1/auth/login", json=body) as answer:
            answer.raise_for_status()
            login = await answer.json()
        party = cls(url, http, login["user"])
        party.token = login["access_token"]
        http.headers["Authorization"] = f"Bearer {party.token}"
        if connect:
            await party.connect()
        return party

    @classmethod
    async def with_token(cls, url: str, user_id: str, token: str) -> Self:
        """A connected user whose access token is already there."""
        http = aiohttp.ClientSession(base_url=url, headers={"Authorization": f"Bearer {token}"})
        party = cls(url, http, {"id": user_id})
        party.token = token
        await party.connect()
        return party

    @property
    def id(self) -> str:
        return str(self.user["id"])

    async def connect(self) -> None:
        self.socket.on("*", self._on_event, namespace="/rt")
        await self.socket.connect(
            self.url, namespaces=["/rt"], auth={"token": self.token}, transports=["websocket"]
        )

    async def close(self) -> None:
        for task in list(self._answering):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        if self.peer is not None:
            await self.peer.close()
        if self.socket.connected:
            await self.socket.disconnect()
        await self.http.close()

    async def _on_event(self, event: str, payload: dict[str, Any]) -> None:
        async with self._changed:
            self.events[event].append(payload)
            self._changed.notify_all()
        if event == "rtc.offer":
            task = asyncio.create_task(self._answer(payload))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)

    async def _answer(self, offer: dict[str, Any]) -> None:
        if self.peer is not None and offer["leg_id"] == self._leg_id:
            sdp = await self.peer.restart_ice(offer["sdp"])
        else:
            sdp = await self._new_peer(offer).answer(offer["sdp"])
        await self.command(
            "rtc.answer", session_id=offer["session_id"], leg_id=offer["leg_id"], sdp=sdp
        )

    def _new_peer(self, offer: dict[str, Any]) -> AiortcPeer:
        if self.peer is not None:
            closing = asyncio.create_task(self.peer.close())
            self._answering.add(closing)
            closing.add_done_callback(self._answering.discard)
        relay = RTCIceServer(**offer["ice_servers"][0]) if self.relayed else None
        self.peer, self._leg_id = AiortcPeer(relay), offer["leg_id"]
        return self.peer

    async def wait_for(self, event: str, count: int = 1) -> dict[str, Any]:
        """The `count`-th payload of `event`, waiting for it if it has not come yet."""
        async with self._changed:
            async with asyncio.timeout(_PATIENCE_S):
                await self._changed.wait_for(lambda: len(self.events[event]) >= count)
        return self.events[event][count - 1]

    async def command(self, event: str, **payload: Any) -> dict[str, Any]:
        """Send one event, return its ack without `ok`. Raises `Refused`."""
        answer: Any = await self.socket.call(event, payload, namespace="/rt", timeout=_PATIENCE_S)
        if not answer.pop("ok"):
            raise Refused(answer)
        return dict(answer)

    async def publish(self, session_id: str, *kinds: str) -> None:
        """Switch these kinds ("audio", "video") on: send media and say so."""
        assert self.peer is not None, "no offer has come yet"
        self.peer.publish(*kinds)
        await self.command(
            "track.update", session_id=session_id, audio="audio" in kinds, video="video" in kinds
        )

    async def connected(self) -> None:
        """Wait until the media connection is up."""
        await self.wait_for("rtc.offer")
        await eventually(
            lambda: self.peer is not None and self.peer.pc.connectionState == "connected"
        )

    async def get(self, path: str) -> dict[str, Any]:
        async with self.http.get(f"/api/v1{path}") as answer:
            answer.raise_for_status()
            return dict(await answer.json())

    async def post(self, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        async with self.http.post(f"/api/v1{path}", json=body or {}, headers=headers) as answer:
            return answer.status, await answer.json()

    async def order(self, listing_id: str, mode: str) -> dict[str, Any]:
        status, order = await self.post(
            "/orders", {"listing_id": listing_id, "mode": mode, "confirm": True}
        )
        assert status == 201, order
        return dict(order)

    async def available(self) -> int:
        return int((await self.get("/wallet"))["available"]["amount"])

    async def top_up(self, amount_minor: int, outcome: str = "succeed") -> dict[str, Any]:
        """A payment through the test provider, decided at once."""
        status, payment = await self.post("/wallet/top-ups", {"amount_minor": amount_minor})
        assert status == 201, payment
        reference = payment["checkout_url"].rsplit("/", 1)[-1]
        status, decided = await self.post(f"/test-payments/{reference}", {"outcome": outcome})
        assert status == 200, decided
        return dict(decided)
