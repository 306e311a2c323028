"""A fuzzer for one reader: `python -m tests.fuzz.guided.target sdp|stun|rtcp CORPUS... [-runs=N]`.

Whatever comes in, only the declared error escapes. The arguments after the name are libFuzzer's.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable

import atheris

with atheris.instrument_imports(include=["engine.media", "aioice"]):
    from engine.errors import BadInput
    from engine.media import ice, rtcp, sdp, transport_feedback
    from engine.media.ice import Credentials, IceLite
    from engine.media.interface import MediaKind

_CREDENTIALS = Credentials("ufragufragu0", "p" * 28)
_TYPES = frozenset({111, 63, 96, 97, 102, 103})


def read_sdp(data: bytes) -> None:
    with contextlib.suppress(BadInput):
        sdp.parse_answer(data.decode("latin-1"), tuple(MediaKind), _TYPES)


def read_stun(data: bytes) -> None:
    agent = IceLite(0)
    agent.current = _CREDENTIALS
    ice.local_ufrag(data)
    agent.handle_request(data, ("192.0.2.1", 1), 1)


def read_rtcp(data: bytes) -> None:
    withheld = transport_feedback.Withheld()
    for number in data[:16]:
        withheld.add(number)
    for kind, count, block in rtcp.split(data):
        rtcp.report_blocks(kind, count, block)
        rtcp.nack_sequences(block)
        rtcp.fir_ssrcs(block)
        rtcp.transport_received(block)
        transport_feedback.fill_in(block, withheld)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "sdp": read_sdp,
    "stun": read_stun,
    "rtcp": read_rtcp,
}

if __name__ == "__main__":
    atheris.Setup([sys.argv[0], *sys.argv[2:]], TARGETS[sys.argv[1]])
    atheris.Fuzz()
