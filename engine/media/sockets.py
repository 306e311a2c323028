"""Sockets of the media plane, for both families and both transports."""

from __future__ import annotations

import functools
import ipaddress
import socket
import struct
from typing import Any

from engine.errors import Unavailable
from engine.media import limits
from engine.media.ice import Address

# Linux's number, which Python 3.14 is the first to name; and struct in_pktinfo, in6_pktinfo.
_IP_PKTINFO = 8
_PACKET_INFO = struct.Struct("@I4s4s")
_PACKET_INFO_6 = struct.Struct("@16sI")
_CONTROL_BYTES = socket.CMSG_SPACE(_PACKET_INFO_6.size)


def open_socket(
    host: str, port: int, kind: int = socket.SOCK_DGRAM, *, reuse: bool = False
) -> socket.socket:
    """A bound socket that does not block; one of SOCK_STREAM listens. Raises `Unavailable` code
    ``media_port``.

    `reuse`: connections of an engine that has just stopped do not hold the port. Not for a port
    that was found by chance: two may then bind it before either listens.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, kind)
    try:
        sock.setblocking(False)
        if family == socket.AF_INET6:
            # "::" serves IPv4 as well, whatever the system's default is.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        if kind == socket.SOCK_STREAM:
            # Accepted sockets inherit it: media must not wait in the kernel, where nobody counts.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, limits.STREAM_KERNEL_BUFFER_BYTES)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
            sock.bind((host, port))
            sock.listen()
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, limits.SOCKET_BUFFER_BYTES)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, limits.SOCKET_BUFFER_BYTES)
            if serves_all_addresses(host):
                sock.setsockopt(*_wanted_packet_info(family), 1)
            sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise Unavailable("media_port", "The media port cannot be opened") from error
    return sock


def serves_all_addresses(host: str) -> bool:
    """Whether a UDP socket bound to `host` says which address each datagram was sent to. A client
    refuses an answer from another one, and the system would choose by its routes.
    """
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _wanted_packet_info(family: int) -> tuple[int, int]:
    if family == socket.AF_INET6:
        return socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO
    return socket.IPPROTO_IP, _IP_PKTINFO


def receive(sock: socket.socket, buffer: memoryview) -> tuple[int, Address]:
    """Like `recvfrom_into`, of a socket that serves all addresses."""
    length, control, _, peer = sock.recvmsg_into([buffer], _CONTROL_BYTES)
    for level, kind, data in control:
        if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO):
            return length, (*peer, socket.inet_ntoa(data[4:8]))
        if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            return length, (*peer, socket.inet_ntop(socket.AF_INET6, data[:16]))
    return length, peer


def send(sock: socket.socket, datagram: bytes | memoryview, address: Address) -> None:
    """Like `sendto`, from the address that the peer sends to where that is known."""
    if len(address) % 2 == 0:
        sock.sendto(datagram, address)
    else:
        *peer, local = address
        sock.sendmsg([datagram], [_packet_info(str(local))], 0, tuple(peer))


@functools.lru_cache(maxsize=64)  # the addresses of this machine
def _packet_info(local: str) -> tuple[int, int, Any]:
    if ":" in local:
        info = _PACKET_INFO_6.pack(socket.inet_pton(socket.AF_INET6, local), 0)
        return socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, info
    return socket.IPPROTO_IP, _IP_PKTINFO, _PACKET_INFO.pack(0, socket.inet_aton(local), bytes(4))
