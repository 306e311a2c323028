"""Socket.IO packets as this server accepts them: one namespace, no attachments, nothing unexpected.

The library decodes a packet and indexes into what came out; a hostile packet makes it raise, log a
stack trace and, on some paths, lose the connection without telling anybody. Here decoding never
raises: what cannot be an event becomes the event `MALFORMED`, which costs its sender like any.
"""

from __future__ import annotations

from typing import Any

import msgspec
from socketio import packet
from socketio.msgpack_packet import MsgPackPacket

from engine.signaling.settings import NAMESPACE

MALFORMED = "$malformed"
"""Name under which undecodable packets reach the dispatcher; no event begins with a dollar."""

_MAX_ACK_ID = 2**53
_RESERVED = frozenset({"connect", "disconnect", "connect_error"})
"""Events of the library itself. A client that sends one by name would reach its handler."""

_FRAME_TYPES = "0123456"
_MAX_CONTROL_CHARS = 16  # ping, pong, upgrade: "2probe" is the longest


def frame_is_sound(frame: object, *, binary: bool) -> bool:
    """Whether a WebSocket frame is one that Engine.IO can take apart without raising.

    `binary`: messages are binary frames (MessagePack) rather than text ones.
    """
    if isinstance(frame, bytes):
        return binary and len(frame) > 0
    if not isinstance(frame, str) or not frame or frame[0] not in _FRAME_TYPES:
        return False
    if frame[0] != "4":
        return len(frame) <= _MAX_CONTROL_CHARS
    return not binary and len(frame) > 1 and frame[1] in _FRAME_TYPES


class _StrictJson:
    """The JSON module of `TextPacket`: refuses NaN, lone surrogates and bottomless nesting."""

    @staticmethod
    def loads(text: str) -> Any:
        return msgspec.json.decode(text)

    @staticmethod
    def dumps(value: Any, separators: object = None) -> str:
        return msgspec.json.encode(value).decode()


class _StrictMixin:
    """Makes `decode` total and checks the outcome."""

    def decode_strictly(self, encoded: Any) -> None:
        target: Any = self
        try:
            super().decode(encoded)  # type: ignore[misc]
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
            target.packet_type = None
        if not _is_sound(target):
            target.packet_type = packet.EVENT
            target.namespace = NAMESPACE
            target.id = None
            target.data = [MALFORMED, None]
        elif target.packet_type == packet.EVENT and target.data[0] in _RESERVED:
            target.data = [MALFORMED, None]


class TextPacket(_StrictMixin, packet.Packet):
    """JSON packets (`/socket.io`)."""

    uses_binary_events = False
    json: Any = _StrictJson

    def __init__(self, *args: Any, encoded_packet: Any = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if encoded_packet is not None:
            self.decode_strictly(encoded_packet)


class BinaryPacket(_StrictMixin, MsgPackPacket):
    """MessagePack packets (`/socket.io-msgpack`), as socket.io-msgpack-parser speaks them."""

    def __init__(self, *args: Any, encoded_packet: Any = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if encoded_packet is not None:
            self.decode_strictly(encoded_packet)

    def encode(self) -> bytes:
        """The parser in browsers refuses members that are present but empty."""
        fields: dict[str, Any] = {"type": self.packet_type, "nsp": self.namespace or "/"}
        if self.data is not None:
            fields["data"] = self.data
        if self.id is not None:
            fields["id"] = self.id
        return msgspec.msgpack.encode(fields)

    def decode(self, encoded_packet: Any) -> None:  # type: ignore[override]
        fields = msgspec.msgpack.decode(encoded_packet)
        self.packet_type = fields["type"]
        self.namespace = fields["nsp"]
        self.data = fields.get("data")
        self.id = fields.get("id")


def _is_sound(decoded: Any) -> bool:
    if decoded.namespace is not None and not isinstance(decoded.namespace, str):
        return False
    kind = decoded.packet_type
    if isinstance(kind, bool) or not isinstance(kind, int):
        return False
    if kind in (packet.CONNECT, packet.DISCONNECT):
        return True
    if kind != packet.EVENT:
        return False  # the server asks for no acks and takes no attachments
    data, ack_id = decoded.data, decoded.id
    if ack_id is not None and (
        isinstance(ack_id, bool) or not isinstance(ack_id, int) or not 0 <= ack_id <= _MAX_ACK_ID
    ):
        return False
    return isinstance(data, list) and bool(data) and isinstance(data[0], str)
