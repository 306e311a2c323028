"""Keys for one purpose each, derived from the operator's secret."""

from __future__ import annotations

import base64
import hashlib
import hmac


def derive(secret: str, purpose: str) -> bytes:
    """32 bytes that tell nothing about the secret or about keys of other purposes."""
    return hmac.digest(secret.encode(), b"talktime:" + purpose.encode(), hashlib.sha256)


def sign(key: bytes, text: bytes) -> str:
    """HMAC-SHA256 (RFC 2104) in URL-safe base 64 without padding."""
    digest = hmac.digest(key, text, hashlib.sha256)
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def signed(key: bytes, text: bytes, signature: str) -> bool:
    """Whether `signature` is that of `text`, in constant time."""
    return hmac.compare_digest(sign(key, text).encode(), signature.encode("utf-8", "replace"))
