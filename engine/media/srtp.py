"""SRTP through pylibsrtp, in place on one shared datagram buffer.

`pylibsrtp.Session.protect` copies its packet in and out and creates a C integer for every call.
The relay instead hands libsrtp the very buffer that the socket filled, through the same library's
cffi binding. That binding is not public, so it is checked at import; without it the public methods
serve.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pylibsrtp

from engine.media import limits

try:
    from pylibsrtp._binding import ffi, lib

    _FUNCTIONS: tuple[Any, Any] | None = (lib.srtp_unprotect, lib.srtp_protect)
    # libsrtp 3 takes other arguments: (context, packet, packet length, out, out length).
    if any(len(ffi.typeof(f).args) != 3 for f in (lib.srtp_unprotect, lib.srtp_protect)):
        _FUNCTIONS = None
except (ImportError, AttributeError):  # pragma: no cover - another pylibsrtp
    _FUNCTIONS = None

DIRECT: Final = _FUNCTIONS is not None

FUNCTION_ADDRESSES: Final[tuple[int, ...] | None] = (
    tuple(
        int(ffi.cast("uintptr_t", ffi.addressof(lib, name)))
        for name in (
            "srtp_unprotect",
            "srtp_protect",
            "srtp_unprotect_rtcp",
            "srtp_protect_rtcp",
            "srtp_remove_stream",
        )
    )
    if DIRECT
    else None
)
"""Where libsrtp's functions are, for compiled callers; None if this is another libsrtp."""

Transform = Callable[[int], int]
"""Takes the length of the packet in the buffer, changes it in place, returns its new length or
-1.
"""


class DatagramBuffer:
    """The one packet a worker is handling. Everything happens in place in `data`."""

    def __init__(self) -> None:
        self.data = bytearray(limits.DATAGRAM_BUFFER_BYTES)
        self.view = memoryview(self.data)
        if _FUNCTIONS is not None:
            self.pointer = ffi.from_buffer(self.data)
            self.length = ffi.new("int *")

    def load(self, packet: bytes) -> int:
        """Copy a packet in; returns its length."""
        self.data[: len(packet)] = packet
        return len(packet)


def unprotector(session: pylibsrtp.Session, buffer: DatagramBuffer) -> Transform:
    """SRTP to RTP; -1 if authentication or the replay check fails."""
    if _FUNCTIONS is not None and hasattr(session, "_srtp"):
        return _direct(_FUNCTIONS[0], session._srtp, buffer)
    return _copying(session.unprotect, buffer)


def protector(session: pylibsrtp.Session, buffer: DatagramBuffer) -> Transform:
    """RTP to SRTP; the buffer has room for the trailer."""
    if _FUNCTIONS is not None and hasattr(session, "_srtp"):
        return _direct(_FUNCTIONS[1], session._srtp, buffer)
    return _copying(session.protect, buffer)


def _direct(function: Any, handle: Any, buffer: DatagramBuffer) -> Transform:
    context, pointer, length = handle[0], buffer.pointer, buffer.length

    # `handle` owns the context: as a default it lives as long as the function does.
    def run(size: int, _handle: Any = handle) -> int:
        length[0] = size
        if function(context, pointer, length):
            return -1
        changed: int = length[0]
        return changed

    return run


def _copying(function: Callable[[bytes], bytes], buffer: DatagramBuffer) -> Transform:
    def run(size: int) -> int:
        try:
            return buffer.load(function(bytes(buffer.view[:size])))
        except (pylibsrtp.Error, ValueError):
            return -1

    return run


def context_address(session: pylibsrtp.Session) -> int:
    """Where the session's libsrtp context is; it lives as long as the session does."""
    return int(ffi.cast("uintptr_t", session._srtp[0]))


def unprotect_rtcp(session: pylibsrtp.Session, packet: bytes) -> bytes | None:
    try:
        plain: bytes = session.unprotect_rtcp(packet)
    except (pylibsrtp.Error, ValueError):
        return None
    return plain


def protect_rtcp(session: pylibsrtp.Session, packet: bytes) -> bytes | None:
    try:
        protected: bytes = session.protect_rtcp(packet)
    except (pylibsrtp.Error, ValueError):
        return None
    return protected


def forget_ssrc(session: pylibsrtp.Session, ssrc: int) -> None:
    """Free what libsrtp keeps for one SSRC."""
    try:
        session.remove_stream(ssrc)
    except pylibsrtp.Error:
        # libsrtp has no state for it: nothing to free.
        return
