"""Who floods a media port: many addresses, none of which has authenticated anything.

Each datagram is of one of these kinds, in equal parts:

* garbage of any length and any first byte;
* RTP and RTCP that belong to no leg;
* connectivity checks that name nobody here;
* connectivity checks that name a leg of a running call, with a signature by another password: the
  most that somebody can forge who has seen a call's SDP but not its ICE password;
* the first flight of a DTLS handshake.
"""

from __future__ import annotations

import contextlib
import ipaddress
import random
import secrets
import socket
from collections.abc import Iterator
from typing import Final

from aioice import stun
from OpenSSL import SSL

from engine.clock import NS_PER_S
from engine.media.limits import MAX_DATAGRAM_BYTES
from loadtests.media.plan import Plan

KINDS: Final = ("garbage", "rtp", "unknown checks", "forged checks", "dtls")
# Addresses from this one on, one for each stranger.
_FIRST_ADDRESS: Final = ipaddress.IPv4Address("127.66.0.1")
# Different datagrams of each kind.
_VARIETY: Final = 200
# As many leave together: fewer would cost the generator more time than it has.
_BURST: Final = 8


@contextlib.contextmanager
def sockets(count: int, server: tuple[str, int]) -> Iterator[list[socket.socket]]:
    """Connected to `server` from `count` addresses."""
    with contextlib.ExitStack() as stack:
        opened = []
        for number in range(count):
            sock = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            sock.setblocking(False)
            sock.bind((str(_FIRST_ADDRESS + number), 0))
            sock.connect(server)
            opened.append(sock)
        yield opened


def datagrams(kind: str, ufrags: list[str], dice: random.Random) -> list[bytes]:
    """Some datagrams of one of `KINDS`; `ufrags` are those of the legs of running calls."""
    make = {
        "garbage": lambda: dice.randbytes(dice.randrange(1, MAX_DATAGRAM_BYTES + 200)),
        "rtp": lambda: _rtp(dice),
        "unknown checks": lambda: _check(f"{secrets.token_hex(4)}:{secrets.token_hex(4)}"),
        "forged checks": lambda: _check(f"{dice.choice(ufrags)}:{secrets.token_hex(4)}"),
        "dtls": _hello,
    }[kind]
    return [make() for _ in range(_VARIETY)]


def flood(
    plan: Plan, legs: range, *, rate_pps: int, seconds: float, ufrags: list[str], seed: int = 1
) -> None:
    """Add `rate_pps` datagrams a second to `plan`, sent by `legs` in turn."""
    dice = random.Random(seed)
    kept = [plan.keep(data) for kind in KINDS for data in datagrams(kind, ufrags, dice)]
    for burst in range(int(rate_pps * seconds) // _BURST):
        due_ns = burst * _BURST * NS_PER_S // rate_pps
        leg = legs[burst % len(legs)]
        for _ in range(_BURST):
            plan.again(due_ns, leg, dice.choice(kept))


def _rtp(dice: random.Random) -> bytes:
    """Version 2, any payload type: RTP and RTCP by RFC 5761."""
    head = bytes([0x80, dice.randrange(256)])
    return head + dice.randbytes(dice.randrange(10, 1_100))


def _check(username: str) -> bytes:
    message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    message.attributes["USERNAME"] = username
    message.attributes["PRIORITY"] = 1
    message.attributes["ICE-CONTROLLING"] = 1
    message.attributes["USE-CANDIDATE"] = None
    message.add_message_integrity(secrets.token_bytes(16))
    return bytes(message)


def _hello() -> bytes:
    connection = SSL.Connection(SSL.Context(SSL.DTLS_METHOD), None)
    connection.set_connect_state()
    with contextlib.suppress(SSL.WantReadError):
        connection.do_handshake()
    return bytes(connection.bio_read(MAX_DATAGRAM_BYTES))
