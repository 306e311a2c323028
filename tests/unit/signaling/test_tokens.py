"""Tokens: what they carry, how they end, and what is not one."""

from __future__ import annotations

from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import Unauthorized
from engine.signaling.tokens import TokenService
from tests.support.virtual_clock import VirtualClock

OLD, NEW = "old-secret-of-at-least-32-bytes-....", "new-secret-of-at-least-32-bytes-...."


def service(*secrets: str, clock: VirtualClock | None = None) -> TokenService:
    return TokenService(secrets or (NEW,), clock or VirtualClock(), ttl_s=600)


def refusal(tokens: TokenService, token: object, **options: Any) -> str:
    with pytest.raises(Unauthorized) as refused:
        tokens.verify(token, **options)
    return refused.value.code


def forged(clock: VirtualClock, secret: str = NEW, **changes: Any) -> str:
    """A well-signed token with some claims changed; None takes one away."""
    now_s = clock.wall_ms() // 1_000
    claims = {
        "iss": "talktime",
        "aud": "talktime",
        "sub": "usr_1",
        "typ": "access",
        "iat": now_s,
        "nbf": now_s,
        "exp": now_s + 600,
    } | changes
    return jwt.encode({key: value for key, value in claims.items() if value is not None}, secret)


def test_an_access_token_carries_user_and_roles() -> None:
    clock = VirtualClock()
    tokens = service(clock=clock)
    identity = tokens.verify(tokens.issue_access("usr_1", ["member", "expert"]))
    assert (identity.user_id, identity.kind, identity.order_id) == ("usr_1", "access", None)
    assert identity.roles == ("member", "expert")
    assert identity.expires_at_ms == clock.wall_ms() + 600_000


def test_an_engine_token_carries_order_and_role() -> None:
    tokens = service()
    identity = tokens.verify(tokens.issue_engine("usr_1", "ord_1", "expert", ttl_s=60))
    assert (identity.kind, identity.order_id, identity.order_role) == ("engine", "ord_1", "expert")
    with pytest.raises(ValueError, match="role"):
        tokens.issue_engine("usr_1", "ord_1", "admin")


def test_a_token_expires_at_its_second() -> None:
    clock = VirtualClock()
    tokens = service(clock=clock)
    token = tokens.issue_access("usr_1", [], ttl_s=60)
    clock.advance(59.999)
    tokens.verify(token)
    clock.advance(0.001)
    assert refusal(tokens, token) == "token_expired"


def test_a_rotated_key_still_verifies_until_it_is_removed() -> None:
    token = service(OLD).issue_access("usr_1", [])
    assert service(NEW, OLD).verify(token).user_id == "usr_1"
    assert refusal(service(NEW), token) == "token_invalid"
    fresh = service(NEW, OLD).issue_access("usr_1", [])
    assert service(NEW).verify(fresh).user_id == "usr_1"


def test_a_use_may_ask_for_one_kind_only() -> None:
    tokens = service()
    engine = tokens.issue_engine("usr_1", "ord_1", "customer")
    assert refusal(tokens, engine, kinds=["access"]) == "token_wrong_audience"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"aud": "other"}, "token_wrong_audience"),
        ({"iss": "other"}, "token_wrong_audience"),
        ({"typ": "refresh"}, "token_invalid"),
        ({"typ": "engine"}, "token_invalid"),
        ({"typ": "engine", "order": "ord_1", "role": "admin"}, "token_invalid"),
        ({"sub": None}, "token_invalid"),
        ({"sub": ""}, "token_invalid"),
        ({"sub": "x" * 41}, "token_invalid"),
        ({"roles": "admin"}, "token_invalid"),
        ({"roles": [1]}, "token_invalid"),
        ({"exp": None}, "token_invalid"),
        ({"exp": "never"}, "token_invalid"),
        ({"exp": True}, "token_invalid"),
        ({"nbf": 2**40}, "token_invalid"),
        ({"iat": 2**40}, "token_invalid"),
    ],
)
def test_wrong_claims_are_refused_although_the_signature_is_good(
    changes: dict[str, Any], code: str
) -> None:
    clock = VirtualClock()
    assert refusal(service(clock=clock), forged(clock, **changes)) == code


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_the_algorithm_is_pinned(algorithm: str) -> None:
    clock = VirtualClock()
    claims = jwt.decode(forged(clock), options={"verify_signature": False})
    token = jwt.encode(claims, NEW * 2, algorithm=algorithm)
    assert refusal(service(NEW * 2, clock=clock), token) == "token_invalid"


def test_size_is_bounded_before_any_work() -> None:
    tokens = service()
    assert refusal(tokens, tokens.issue_access("usr_1", ["x" * 5_000])) == "token_invalid"


@given(st.text() | st.binary() | st.none() | st.integers() | st.lists(st.text()))
def test_garbage_is_refused(token: object) -> None:
    assert refusal(service(), token) == "token_invalid"


@given(st.integers(0, 300), st.characters(codec="ascii"))
def test_a_changed_character_is_noticed(position: int, character: str) -> None:
    tokens = service()
    token = tokens.issue_access("usr_1", ["member"])
    position %= len(token)
    # The last character of a part may carry bits that nothing decodes.
    if token[position] == character or token[position + 1 : position + 2] in ("", "."):
        return
    changed = token[:position] + character + token[position + 1 :]
    assert refusal(tokens, changed) in ("token_invalid", "token_wrong_audience")


@pytest.mark.parametrize("secrets", [(), ("short",)])
def test_weak_keys_are_refused(secrets: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="secret"):
        TokenService(secrets, VirtualClock())


def test_a_token_knows_its_millisecond() -> None:
    clock = VirtualClock()
    clock.advance(0.25)
    tokens = service(clock=clock)
    identity = tokens.verify(tokens.issue_access("usr_1", []))
    assert identity.issued_at_ms == clock.wall_ms()
    older = tokens.verify(forged(clock))
    assert older.issued_at_ms == clock.wall_ms() // 1_000 * 1_000


@pytest.mark.parametrize("iat_ms", [-5_000, 10**15, "soon", True, 1.5])
def test_a_token_that_contradicts_itself_is_none(iat_ms: object) -> None:
    clock = VirtualClock()
    assert refusal(service(clock=clock), forged(clock, iat_ms=iat_ms)) == "token_invalid"
