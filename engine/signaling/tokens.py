"""Tokens: who a connection speaks for, and since when until when.

HS256 JSON Web Tokens (RFC 7519). The first secret signs, every secret verifies, so that keys can be
rotated without signing anybody out. The algorithm is pinned (RFC 8725 section 3.1); a token may not
name its own. Two kinds: ``access`` speaks for a user everywhere, ``engine`` for one party of one
order, which is what a marketplace hands to its own front end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jwt

from engine.clock import Clock
from engine.errors import Unauthorized

Kind = Literal["access", "engine"]

_ALGORITHM = "HS256"
_ISSUER = "talktime"
_AUDIENCE = "talktime"
_MAX_TOKEN_CHARS = 4_096
_MIN_SECRET_BYTES = 32  # RFC 7518 section 3.2: no shorter than the hash
_LEEWAY_S = 5  # clocks of two nodes
_MAX_ID_CHARS = 40
_REQUIRED = ("iss", "aud", "sub", "typ", "exp", "iat", "nbf")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a verified token speaks for; `order_id` and `order_role` are set for engine tokens.

    `issued_at_ms` tells whether the user's tokens were voided since (`engine.signaling.standing`).
    """

    user_id: str
    kind: Kind
    order_id: str | None
    order_role: str | None
    roles: tuple[str, ...]
    expires_at_ms: int
    issued_at_ms: int


class TokenService:
    """Issues and verifies tokens. `ttl_s` is how long one lives unless said otherwise."""

    def __init__(
        self,
        secrets: Sequence[str],
        clock: Clock,
        ttl_s: int = 3_600,
        *,
        issuer: str = _ISSUER,
        audience: str = _AUDIENCE,
    ) -> None:
        if not secrets:
            raise ValueError("at least one secret is needed")
        if any(len(secret.encode()) < _MIN_SECRET_BYTES for secret in secrets):
            raise ValueError(f"a secret has at least {_MIN_SECRET_BYTES} bytes")
        self._secrets = tuple(secrets)
        self._clock = clock
        self.ttl_s = ttl_s
        self._issuer = issuer
        self._audience = audience

    def issue_access(self, user_id: str, roles: Sequence[str], ttl_s: int | None = None) -> str:
        """A token for everything the user may do."""
        return self._sign(user_id, "access", {"roles": list(roles)}, ttl_s)

    def issue_engine(self, user_id: str, order_id: str, role: str, ttl_s: int | None = None) -> str:
        """A token for one order, as its ``customer`` or ``expert``."""
        if role not in ("customer", "expert"):
            raise ValueError("role is customer or expert")
        return self._sign(user_id, "engine", {"order": order_id, "role": role}, ttl_s)

    def verify(self, token: object, kinds: Sequence[Kind] = ("access", "engine")) -> Identity:
        """Whom `token` speaks for.

        Raises `Unauthorized`: token_invalid, token_expired, token_wrong_audience.
        """
        if not isinstance(token, str) or not 0 < len(token) <= _MAX_TOKEN_CHARS:
            raise _invalid()
        claims = self._claims(token)
        self._check_times(claims)
        identity = _identity(claims)
        if identity.kind not in kinds:
            raise Unauthorized("token_wrong_audience", "this token is not meant for this use")
        return identity

    def _sign(self, user_id: str, kind: Kind, more: dict[str, Any], ttl_s: int | None) -> str:
        now_ms = self._clock.wall_ms()
        now_s = now_ms // 1_000
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": user_id,
            "typ": kind,
            "iat": now_s,
            # Our own: a token may be younger than what voids tokens within the same second.
            "iat_ms": now_ms,
            "nbf": now_s,
            "exp": now_s + (self.ttl_s if ttl_s is None else ttl_s),
        }
        return jwt.encode(claims | more, self._secrets[0], algorithm=_ALGORITHM)

    def _claims(self, token: str) -> dict[str, Any]:
        """The claims under a good signature; times are checked apart, by our own clock."""
        options: Any = {
            "require": list(_REQUIRED),
            "verify_exp": False,
            "verify_nbf": False,
            "verify_iat": False,
        }
        for secret in self._secrets:
            try:
                return jwt.decode(
                    token,
                    secret,
                    algorithms=[_ALGORITHM],
                    audience=self._audience,
                    issuer=self._issuer,
                    options=options,
                )
            except jwt.InvalidSignatureError:
                continue
            except (jwt.InvalidAudienceError, jwt.InvalidIssuerError):
                raise Unauthorized(
                    "token_wrong_audience", "this token was issued for something else"
                ) from None
            except (jwt.PyJWTError, ValueError, RecursionError):
                raise _invalid() from None
        raise _invalid()

    def _check_times(self, claims: dict[str, Any]) -> None:
        now_s = self._clock.wall_ms() / 1_000
        times = [claims["exp"], claims["nbf"], claims["iat"], _issued_at_ms(claims)]
        if any(isinstance(at, bool) or not isinstance(at, int) for at in times):
            raise _invalid()
        if _issued_at_ms(claims) // 1_000 != claims["iat"]:
            raise _invalid()
        if claims["nbf"] > now_s + _LEEWAY_S or claims["iat"] > now_s + _LEEWAY_S:
            raise _invalid()
        if claims["exp"] <= now_s:
            raise Unauthorized("token_expired", "this token has expired")


def _identity(claims: dict[str, Any]) -> Identity:
    user_id, kind, at_ms = claims["sub"], claims["typ"], _issued_at_ms(claims)
    if not _is_id(user_id):
        raise _invalid()
    if kind == "access":
        roles = claims.get("roles", [])
        if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
            raise _invalid()
        return Identity(user_id, "access", None, None, tuple(roles), claims["exp"] * 1_000, at_ms)
    order_id, role = claims.get("order"), claims.get("role")
    if kind != "engine" or not _is_id(order_id) or role not in ("customer", "expert"):
        raise _invalid()
    return Identity(user_id, "engine", order_id, role, (role,), claims["exp"] * 1_000, at_ms)


def _issued_at_ms(claims: dict[str, Any]) -> Any:
    """Of tokens without the claim, the beginning of their second."""
    return claims["iat_ms"] if "iat_ms" in claims else claims["iat"] * 1_000


def _is_id(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _MAX_ID_CHARS


def _invalid() -> Unauthorized:
    return Unauthorized("token_invalid", "this token cannot be used")
