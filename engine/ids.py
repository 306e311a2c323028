"""Identifiers: a kind prefix, 48 bits of time and 80 random bits, in Crockford base 32.

They sort by creation, name their kind in every log line and cannot be guessed.
"""

from __future__ import annotations

import secrets
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_LENGTH = 26


def new_id(kind: str) -> str:
    """A new identifier such as ``ord_01jd2k...``; at most 40 characters for kinds up to 13."""
    number = (time.time_ns() // 1_000_000 & (1 << 48) - 1) << 80 | secrets.randbits(80)
    digits = []
    for _ in range(_LENGTH):
        number, digit = divmod(number, 32)
        digits.append(_ALPHABET[digit])
    return f"{kind}_{''.join(reversed(digits))}"
