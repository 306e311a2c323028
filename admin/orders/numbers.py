"""Numbers of orders, short enough to be read out over the telephone."""

from __future__ import annotations

import secrets

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford base 32: no I, L, O or U."""


def new_number() -> str:
    """Such as ``TT-7K3M-Q9ZD``: 40 random bits, so that it tells nothing about the trade."""
    text = "".join(secrets.choice(_ALPHABET) for _ in range(8))
    return f"TT-{text[:4]}-{text[4:]}"
