"""Idempotency keys: what makes two requests the same."""

from __future__ import annotations

import hashlib
import json

from engine.errors import BadInput, Conflict

MAX_KEY_LENGTH = 160


def check_key(key: str) -> str:
    if not 1 <= len(key) <= MAX_KEY_LENGTH:
        raise BadInput("bad_key", f"An idempotency key has 1 to {MAX_KEY_LENGTH} characters.")
    return key


def request_hash(*request: object) -> str:
    """SHA-256 of the request's members, in a form that does not depend on the process."""
    text = json.dumps(request, separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def reused(key: str) -> Conflict:
    return Conflict("idempotency_key_reused", "This key was used for another request.", key=key)


def check_same(key: str, stored_hash: str, asked_hash: str) -> None:
    if stored_hash != asked_hash:
        raise reused(key)
