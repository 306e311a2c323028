"""ICE servers with short-lived TURN credentials (draft-uberti-behave-turn-rest-00, section 2.2)."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence

from engine.clock import Clock
from engine.signaling.messages import IceServer

LIFE_S = 3_600


class IceServers:
    """The configured servers, with credentials made anew for every user who asks.

    The user name is ``{expiry in Unix seconds}:{user}``, the password its HMAC-SHA1 in base 64: a
    TURN server that knows the shared secret needs no list of users.
    """

    def __init__(self, urls: Sequence[str], secret: str, clock: Clock) -> None:
        self._stun = [url for url in urls if url.startswith(("stun:", "stuns:"))]
        self._turn = [url for url in urls if url.startswith(("turn:", "turns:"))]
        self._secret = secret.encode()
        self._clock = clock

    def __call__(self, user_id: str) -> list[IceServer]:
        servers = [IceServer(urls=self._stun)] if self._stun else []
        if self._turn:
            username = f"{self._clock.wall_ms() // 1_000 + LIFE_S}:{user_id}"
            digest = hmac.new(self._secret, username.encode(), hashlib.sha1).digest()
            servers.append(IceServer(self._turn, username, base64.b64encode(digest).decode()))
        return servers
