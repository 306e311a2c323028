"""Two Socket.IO servers, one per serializer, under the same handlers.

A server of the library speaks one serializer, so JSON lives at ``/socket.io`` and MessagePack at
``/socket.io-msgpack``. Sending puts the packet straight into the device's queue: it never waits, so
a device that does not read cannot hold up a session, and a queue that grows past its bound ends the
device instead. All knowledge of the library's insides is in this file and in packets.py.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any
from urllib.parse import urlsplit

import socketio
from aiohttp import web
from engineio.async_drivers.aiohttp import WebSocket
from engineio.packet import MESSAGE
from engineio.packet import Packet as EnginePacket
from socketio import packet
from socketio.async_namespace import AsyncNamespace

from engine.clock import NS_PER_S
from engine.ratelimit import Limiter, Rate
from engine.signaling.packets import BinaryPacket, TextPacket, frame_is_sound
from engine.signaling.settings import NAMESPACE, SignalingSettings

JSON_PATH = "socket.io"
MSGPACK_PATH = "socket.io-msgpack"

Trigger = Callable[..., Awaitable[Any]]
"""Called as `trigger(mount, event, device, ...)`, with what the library passes for the event."""


class Mount:
    """One Socket.IO server at one path."""

    def __init__(
        self, path: str, *, binary: bool, settings: SignalingSettings, trigger: Trigger
    ) -> None:
        self.path = path
        self._packet_class: type[TextPacket | BinaryPacket] = BinaryPacket if binary else TextPacket
        self._max_backlog = settings.max_backlog_packets
        self.server = _server(self._packet_class, settings)
        self.server.register_namespace(_Namespace(self, trigger))
        self._eio: Any = self.server.eio
        self._eio._async = self._eio._async | {"websocket": _web_socket(binary)}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._eio.start_background_task = self._start_task
        self._wake_on_close()

    def attach(self, app: web.Application) -> None:
        self.server.attach(app, self.path)

    def guard_connects(self, admit: Callable[[Mount, str], bool]) -> None:
        """Ask `admit(mount, transport_id)` before a transport may open."""
        accept = self._eio.handlers["connect"]

        async def connect(transport_id: str, environ: dict[str, Any]) -> object:
            if not admit(self, transport_id):
                return "overloaded"
            return await accept(transport_id, environ)

        self._eio.on("connect", connect)

    @property
    def open_count(self) -> int:
        return len(self._eio.sockets)

    def is_open(self, transport_id: str) -> bool:
        socket = self._eio.sockets.get(transport_id)
        return socket is not None and not socket.closing and not socket.closed

    def transport_of(self, device: str) -> str:
        """The transport's id under a device."""
        return str(self.server.manager.eio_sid_from_sid(device, NAMESPACE))

    def encode(self, event: str, payload: dict[str, object]) -> EnginePacket:
        made = self._packet_class(packet.EVENT, data=[event, payload], namespace=NAMESPACE)
        return EnginePacket(MESSAGE, made.encode())

    def push(self, transport_id: str, encoded: EnginePacket) -> bool:
        """Queue a packet; False if the device has fallen too far behind to get it."""
        socket = self._eio.sockets.get(transport_id)
        if socket is None or socket.closed:
            return True  # gone, and its end is on the way to us
        if socket.queue.qsize() >= self._max_backlog:
            return False
        socket.queue.put_nowait(encoded)
        return True

    async def dismiss(self, device: str) -> None:
        """Tell a device that it is out: it will not come back by itself."""
        await self.server.disconnect(device, namespace=NAMESPACE)

    async def shut(self, transport_id: str) -> None:
        """Close a transport after what is queued; a client takes that for a lost connection."""
        socket = self._eio.sockets.get(transport_id)
        if socket is not None:
            await socket.close(wait=False)

    def abort(self, transport_id: str) -> None:
        """Cut a transport that did not drain."""
        socket = self._eio.sockets.pop(transport_id, None)
        stream = getattr(socket, "stream", None)
        if stream is not None:
            stream.abort()

    async def stop(self) -> None:
        """Close every transport and the library's own tasks."""
        for transport_id in list(self._eio.sockets):
            await self.shut(transport_id)
        await self.server.shutdown()
        pings = list(self._tasks)
        for task in pings:
            task.cancel()
        await asyncio.gather(*pings, return_exceptions=True)

    def _wake_on_close(self) -> None:
        """A closed transport ends its writer or waiting poll at once, not at the next timeout."""
        closed = self._eio.handlers["disconnect"]

        async def disconnect(transport_id: str, reason: object) -> None:
            socket = self._eio.sockets.get(transport_id)
            await closed(transport_id, reason)
            if socket is not None:  # behind the packet that says goodbye
                asyncio.get_running_loop().call_soon(socket.queue.put_nowait, None)

        self._eio.on("disconnect", disconnect)

    def _start_task(
        self, target: Callable[..., Coroutine[Any, Any, Any]], *args: Any, **kwargs: Any
    ) -> asyncio.Task[Any]:
        """In place of the library's, which leaves a task per device behind."""
        task = asyncio.get_running_loop().create_task(target(*args, **kwargs))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


class _Namespace(AsyncNamespace):
    """Hands every event of the namespace, connects included, to one function."""

    def __init__(self, mount: Mount, trigger: Trigger) -> None:
        super().__init__(NAMESPACE)
        self._mount = mount
        self._trigger = trigger

    async def trigger_event(self, event: str, *args: Any) -> Any:
        return await self._trigger(self._mount, event, *args)


class _GuardedWebSocket(WebSocket):  # type: ignore[misc]
    """Ends the connection on frames that the library would fail to take apart."""

    binary = False

    async def __call__(self, environ: dict[str, Any]) -> Any:
        self.handler.__self__.stream = environ["aiohttp.request"].transport
        return await super().__call__(environ)

    async def wait(self) -> Any:
        frame = await super().wait()
        if not frame_is_sound(frame, binary=self.binary):
            self.handler.__self__.stream.abort()  # no closing handshake with such a peer
            raise OSError("not an Engine.IO frame")
        return frame


def _web_socket(binary: bool) -> type[_GuardedWebSocket]:
    return type("WebSocket", (_GuardedWebSocket,), {"binary": binary})


def _server(packet_class: type[packet.Packet], settings: SignalingSettings) -> socketio.AsyncServer:
    options: dict[str, Any] = {
        "serializer": packet_class,
        "transports": list(settings.transports),
    }
    return socketio.AsyncServer(
        async_mode="aiohttp",
        # One event of a device after the other: their order is kept, and a flood waits in TCP.
        async_handlers=False,
        namespaces=[NAMESPACE],
        cors_allowed_origins=_origin_rule(settings.cors_origins),
        max_http_buffer_size=settings.max_frame_bytes,
        ping_interval=settings.ping_interval_s,
        ping_timeout=settings.ping_timeout_s,
        logger=_LIBRARY_LOG,
        engineio_logger=_LIBRARY_LOG,
        **options,
    )


def _origin_rule(allowed: tuple[str, ...]) -> Any:
    """A page may connect from its own origin and from those listed."""

    def allow(origin: str | None, environ: dict[str, Any]) -> bool:
        if origin is None or origin in allowed or "*" in allowed:
            return True
        hosts = {environ.get("HTTP_HOST"), environ.get("HTTP_X_FORWARDED_HOST")}
        return urlsplit(origin).netloc in hosts

    return allow


class _OneLine(logging.Filter):
    """What reaches the library's log is a peer's garbage: one line each, and not many of them."""

    def __init__(self) -> None:
        super().__init__()
        self._limiter = Limiter(Rate(per_s=1, burst=20))

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and record.exc_info[0] is not None:
            record.msg = f"{record.getMessage()}: {record.exc_info[0].__name__}"
            record.args = ()
            record.exc_info = None
            record.levelno, record.levelname = logging.WARNING, "WARNING"
        return not self._limiter.hit("line", int(record.created * NS_PER_S))


_LIBRARY_LOG = logging.getLogger("engine.signaling.transport")
_LIBRARY_LOG.setLevel(logging.WARNING)
_LIBRARY_LOG.addFilter(_OneLine())
