"""The process of the native floor: it makes the SRTP contexts, the C loop does the rest.

`python -m loadtests.media.floor HOST` prints its port, reads one line of JSON with the legs (port,
index of the leg they send to, key in hexadecimal), prints "ready" and relays until it is killed.
"""

from __future__ import annotations

import ctypes
import json
import socket
import struct
import sys

import pylibsrtp
from pylibsrtp._binding import ffi, lib

from loadtests.bench.media_floor import session
from loadtests.media import native_build


class _Leg(ctypes.Structure):
    """`struct floor_leg` of native/floor.c."""

    _fields_ = (
        ("receive", ctypes.c_void_p),
        ("send", ctypes.c_void_p),
        ("to", ctypes.c_uint32),
        ("port", ctypes.c_uint16),
    )


def _address(name: str) -> ctypes.c_void_p:
    """Of a function of the libsrtp inside pylibsrtp."""
    return ctypes.c_void_p(int(ffi.cast("uintptr_t", ffi.addressof(lib, name))))


def _context(of: pylibsrtp.Session) -> int:
    return int(ffi.cast("uintptr_t", of._srtp[0]))


def serve(host: str) -> int:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, 4 << 20)
    sock.bind((host, 0))
    print(sock.getsockname()[1], flush=True)
    rows = json.loads(sys.stdin.readline())
    inbound, outbound = pylibsrtp.Policy.SSRC_ANY_INBOUND, pylibsrtp.Policy.SSRC_ANY_OUTBOUND
    keys = [bytes.fromhex(key) for _, _, key in rows]
    receive = [session(key, inbound) for key in keys]
    send = [session(key, outbound) for key in keys]
    legs = (_Leg * len(rows))(
        *(
            _Leg(_context(receive[index]), _context(send[index]), to, port)
            for index, (port, to, _) in enumerate(rows)
        )
    )
    relay = ctypes.CDLL(str(native_build.floor_library())).floor_run
    address = struct.unpack("=I", socket.inet_aton(host))[0]
    print(json.dumps("ready"), flush=True)
    functions = (_address("srtp_unprotect"), _address("srtp_protect"))
    errno: int = relay(sock.fileno(), ctypes.c_uint32(address), legs, len(rows), *functions)
    return errno


if __name__ == "__main__":
    sys.exit(serve(sys.argv[1]))
