"""Copy what can be read of a file that was cut off into a whole one, with its length and an index.

A program of its own, `remux.py SOURCE TARGET`: what a crash left may crash whoever reads it. The
exit status is 0 if anything was copied.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Any

import av
import av.error

_NICE = 10


def remux(source: Path, target: Path) -> int:
    """How many packets were copied; 0 if there are none, and no target then.

    Raises `OSError` if the target could not be written.
    """
    with contextlib.ExitStack() as stack:
        try:
            cut_off = stack.enter_context(av.open(str(source)))
        except av.error.InvalidDataError:
            return 0
        kind = "matroska" if ".mkv" in target.suffixes else "webm"
        options = {"max_interleave_delta": "1000000"}
        whole = stack.enter_context(av.open(str(target), "w", format=kind, options=options))
        streams: dict[int, Any] = {}
        for stream in cut_off.streams:
            copy: Any = whole.add_stream_from_template(stream, opaque=True)
            copy.metadata.update(stream.metadata)
            streams[stream.index] = copy
        copied = 0
        # To where it cannot be read any more.
        with contextlib.suppress(av.error.InvalidDataError, av.error.EOFError):
            for packet in cut_off.demux():
                if packet.dts is not None:
                    packet.stream = streams[packet.stream.index]
                    whole.mux(packet)
                    copied += 1
    if not copied:
        target.unlink(missing_ok=True)
    return copied


if __name__ == "__main__":
    with contextlib.suppress(OSError, AttributeError):
        os.nice(_NICE)
    sys.exit(0 if remux(Path(sys.argv[1]), Path(sys.argv[2])) else 1)
