"""Packets that the engine withheld are no loss in the feedback it passes on."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from engine.media import rtcp
from engine.media.transport_feedback import Withheld, _parse, fill_in
from tests.support import media_packets as packets


def _feedback(base: int, deltas: list[int | None]) -> bytes:
    """Feedback with two-bit vectors and these deltas, None for a packet not received."""
    symbols = [0 if d is None else 1 if 0 <= d <= 255 else 2 for d in deltas]
    body = struct.pack("!HHI", base & 0xFFFF, len(deltas), 7)
    for start in range(0, len(symbols), 7):
        part = symbols[start : start + 7] + [0] * 7
        body += struct.pack("!H", 0xC000 | sum(s << (12 - 2 * i) for i, s in enumerate(part[:7])))
    for symbol, delta in zip(symbols, deltas, strict=True):
        if delta is not None:
            body += delta.to_bytes(symbol, "big", signed=symbol == 2)
    body += bytes(-len(body) % 4)
    return struct.pack("!BBHII", 0x8F, 205, 2 + len(body) // 4, 1, 2) + body


def _withheld(*numbers: int) -> Withheld:
    withheld = Withheld()
    for number in numbers:
        withheld.add(number)
    return withheld


def test_withheld_packets_are_spread_between_their_neighbours() -> None:
    block = fill_in(_feedback(10, [4, None, None, 31, None, 2]), _withheld(11, 12))
    assert _parse(block) == (10, [4, 10, 10, 11, None, 2])
    assert rtcp.transport_received(block) == [10, 11, 12, 13, 15]
    assert block[12:20] == _feedback(10, [4, None, None, 31, None, 2])[12:20]
    assert len(block) % 4 == 0
    assert struct.unpack_from("!H", block, 2)[0] * 4 + 4 == len(block)


def test_real_loss_stays_loss() -> None:
    block = _feedback(10, [4, None, 5])
    assert fill_in(block, _withheld(99)) is block


def test_a_number_is_believed_once() -> None:
    withheld = _withheld(11)
    block = _feedback(10, [4, None, 5])
    assert fill_in(block, withheld) != block
    assert fill_in(block, withheld) is block


def test_numbers_wrap() -> None:
    block = fill_in(_feedback(65_535, [4, None, 6]), _withheld(0))
    assert rtcp.transport_received(block) == [65_535, 0, 1]


def test_negative_deltas_survive() -> None:
    block = fill_in(_feedback(0, [4, None, -9, 600]), _withheld(1))
    assert _parse(block) == (0, [4, -5, -4, 600])


def test_one_bit_vectors_are_understood() -> None:
    block = packets.transport_feedback(5, [True, False, True])
    assert rtcp.transport_received(fill_in(block, _withheld(6))) == [5, 6, 7]


@given(
    st.integers(0, 65535),
    st.lists(st.none() | st.integers(-3000, 3000), max_size=80),
    st.sets(st.integers(0, 80)),
)
def test_arrivals_of_received_packets_never_move(
    base: int, deltas: list[int | None], kept: set[int]
) -> None:
    block = fill_in(_feedback(base, deltas), _withheld(*((base + k) & 0xFFFF for k in kept)))
    parsed = _parse(block)
    assert parsed is not None
    arrival, before = 0, {}
    for index, delta in enumerate(deltas):
        if delta is not None:
            arrival += delta
            before[index] = arrival
    arrival = 0
    for index, delta in enumerate(parsed[1]):
        if delta is not None:
            arrival += delta
            assert before.get(index, arrival) == arrival
            assert index in before or index in kept


@given(st.binary(max_size=80))
def test_anything_malformed_passes_unchanged_or_shorter_than_the_limit(data: bytes) -> None:
    fill_in(b"\x8f\xcd" + data, _withheld(*range(1024)))
