"""Transport-wide feedback in which what the engine kept back does not count as lost.

Feedback passes end to end, so a packet that the router withholds (a muted microphone, video before
its keyframe) would be missing in it, and the publisher's congestion control would take a rule for a
loss. Such packets are therefore entered as received, their arrivals spread evenly between those of
their neighbours: the instants of all others stay as they were.

Format: draft-holmer-rmcat-transport-wide-cc-extensions-01 section 3.1.
"""

from __future__ import annotations

import struct
from typing import Final

from engine.media import limits

_HEAD: Final = 20
_SMALL, _LARGE = 1, 2
_SLOTS = 1024


class Withheld:
    """Transport-wide numbers of one publisher that were not forwarded; a bounded memory."""

    __slots__ = ("_numbers", "any")

    def __init__(self) -> None:
        self.any = False
        self._numbers = [-1] * _SLOTS

    def add(self, number: int) -> None:
        self.any = True
        self._numbers[number % _SLOTS] = number

    def take(self, number: int) -> bool:
        """True if `number` was withheld; it is forgotten then."""
        slot = number % _SLOTS
        if self._numbers[slot] != number:
            return False
        self._numbers[slot] = -1
        return True


def fill_in(block: bytes, withheld: Withheld) -> bytes:
    """`block` with the withheld numbers entered as received; the same block if it has none."""
    parsed = _parse(block)
    if parsed is None:
        return block
    base, deltas = parsed
    waiting: list[int] = []
    changed = False
    for index, delta in enumerate(deltas):
        if delta is None:
            if withheld.take((base + index) & 0xFFFF):
                waiting.append(index)
        elif waiting:
            share, rest = divmod(delta, len(waiting) + 1)
            for earlier in waiting:
                deltas[earlier] = share
            deltas[index] = share + rest
            waiting.clear()
            changed = True
    return _build(block, deltas) if changed else block


def _parse(block: bytes) -> tuple[int, list[int | None]] | None:
    """The base number and, per packet, its arrival delta in 250 us or None; None if malformed."""
    if len(block) < _HEAD:
        return None
    base, count = struct.unpack_from("!HH", block, 12)
    if count > limits.ACK_WINDOW_PACKETS:
        return None
    symbols: list[int] = []
    at = _HEAD
    while len(symbols) < count:
        if at + 2 > len(block):
            return None
        symbols.extend(_chunk(block[at] << 8 | block[at + 1], count - len(symbols)))
        at += 2
    return _deltas(block, at, base, symbols)


def _chunk(chunk: int, most: int) -> list[int]:
    if not chunk & 0x8000:
        return [chunk >> 13 & 3] * min(chunk & 0x1FFF, most)
    bits = 2 if chunk & 0x4000 else 1
    mask = (1 << bits) - 1
    return [chunk >> shift & mask for shift in range(14 - bits, -1, -bits)][:most]


def _deltas(
    block: bytes, at: int, base: int, symbols: list[int]
) -> tuple[int, list[int | None]] | None:
    deltas: list[int | None] = []
    for symbol in symbols:
        if symbol not in (_SMALL, _LARGE):
            deltas.append(None)
            continue
        if at + symbol > len(block):
            return None
        raw = block[at : at + symbol]
        deltas.append(int.from_bytes(raw, "big", signed=symbol == _LARGE))
        at += symbol
    return base, deltas


def _build(block: bytes, deltas: list[int | None]) -> bytes:
    symbols = [0 if d is None else _SMALL if 0 <= d <= 255 else _LARGE for d in deltas]
    body = bytearray(block[12:_HEAD])
    for start in range(0, len(symbols), 7):
        word = 0xC000
        for place, symbol in enumerate(symbols[start : start + 7]):
            word |= symbol << (12 - 2 * place)
        body += word.to_bytes(2, "big")
    for symbol, delta in zip(symbols, deltas, strict=True):
        if delta is not None:
            body += delta.to_bytes(symbol, "big", signed=symbol == _LARGE)
    body += bytes(-len(body) % 4)
    # No padding bit: the zeros behind the deltas are simply not read.
    head = bytes([block[0] & 0xDF, block[1]]) + (2 + len(body) // 4).to_bytes(2, "big")
    return head + block[4:12] + bytes(body)
