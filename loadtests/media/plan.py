"""The generator's work list, written in the layout of native/plan.h, and its run."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from struct import Struct

import msgspec

from loadtests.media import cores, native_build

_MAGIC = b"TTPLAN01"
_HEADER = Struct("@8sQIIIIIiQ")
_LEG = Struct("@i")
_STREAM = Struct("@IIIIII")
_PACKET = Struct("@QQIIII")
_ACK = Struct("@QII")
_NO_STREAM = 0xFFFFFFFF
# A server that returns nothing for so long has lost what was under way.
PATIENCE_NS = 300_000_000


class Result(msgspec.Struct, frozen=True):
    """What one run of the generator saw. `cpu_ns` is the server's; delays are from before the
    sending of a packet until it was back, None when none came back.

    `unmatched` packets came back under unexpected numbers: returned, but without a delay.
    `late_max_ns` is how far the generator itself fell behind the schedule.
    """

    offered: int
    returned: int
    lost: int
    duplicates: int
    unmatched: int
    refused: int
    elapsed_ns: int
    cpu_ns: int
    late_max_ns: int
    delay_p50_ns: int | None = None
    delay_p99_ns: int | None = None
    delay_max_ns: int | None = None

    @property
    def cpu_us(self) -> float:
        """CPU of the server for one forwarded packet, in microseconds."""
        return self.cpu_ns / 1e3 / self.returned if self.returned else float("nan")

    @property
    def utilisation(self) -> float:
        """The share of one core that the server used."""
        return self.cpu_ns / self.elapsed_ns


class _Stream:
    def __init__(self, viewer: int, ssrc: int, sequence: int) -> None:
        self.viewer, self.ssrc, self.sequence = viewer, ssrc, sequence
        self.packets = 0
        self.acks: list[tuple[int, int, int]] = []


class Plan:
    """Datagrams go straight into a memory file, in any order; `close` it after use."""

    def __init__(self) -> None:
        self._file = os.fdopen(os.memfd_create("plan"), "r+b")
        self._file.write(bytes(_HEADER.size))
        self._at = _HEADER.size
        self._packets: list[tuple[int, int, int, int, int, int]] = []
        self._streams: list[_Stream] = []

    def close(self) -> None:
        self._file.close()

    def stream(self, *, viewer: int, ssrc: int, sequence: int) -> int:
        """A stream that comes back at leg `viewer` under `ssrc`, from number `sequence` on."""
        self._streams.append(_Stream(viewer, ssrc, sequence))
        return len(self._streams) - 1

    def packet(self, due_ns: int, leg: int, stream: int, datagram: bytes) -> int:
        """The next packet of a stream, sent by `leg`; returns its number in the stream."""
        self._schedule(due_ns, leg, stream, datagram)
        self._streams[stream].packets += 1
        return self._streams[stream].packets - 1

    def control(self, due_ns: int, leg: int, datagram: bytes) -> None:
        """A datagram of `leg` that nothing comes back for."""
        self._schedule(due_ns, leg, _NO_STREAM, datagram)

    def keep(self, datagram: bytes) -> tuple[int, int]:
        """Put a datagram into the plan once, to be sent many times by `again`."""
        return self._put(datagram), len(datagram)

    def again(self, due_ns: int, leg: int, kept: tuple[int, int]) -> None:
        """Like `control`, with what `keep` returned."""
        self._packets.append((due_ns, *kept, leg, _NO_STREAM, 0))

    def ack(self, stream: int, after: int, datagram: bytes) -> None:
        """What the stream's viewer sends once packet number `after` is back; in that order."""
        self._streams[stream].acks.append((self._put(datagram), len(datagram), after))

    def _schedule(self, due_ns: int, leg: int, stream: int, datagram: bytes) -> None:
        row = (due_ns, self._put(datagram), len(datagram), leg, stream, 0)
        self._packets.append(row)

    def _put(self, datagram: bytes) -> int:
        at = self._at
        self._file.write(datagram)
        self._at += len(datagram)
        return at

    async def run(
        self, fds: Sequence[int], *, server: int, backlog: int = 0, patience_ns: int = PATIENCE_NS
    ) -> Result:
        """Send it all over the connected sockets `fds`; `server` is a process id.

        With a `backlog` packets leave as fast as they come back, so many at once; without, when
        they are due. Raises `RuntimeError` if the generator failed.
        """
        self._finish(fds, server, backlog, patience_ns)
        plan = self._file.fileno()
        with cores.pinned(cores.GENERATOR):
            process = await asyncio.create_subprocess_exec(
                *(native_build.generator(), str(plan)),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                pass_fds=(plan, *fds),
            )
        out, error = await process.communicate()
        if process.returncode:
            raise RuntimeError(error.decode() or f"the generator ended with {process.returncode}")
        return msgspec.json.decode(out, type=Result)

    def _finish(self, fds: Sequence[int], server: int, backlog: int, patience_ns: int) -> None:
        self._put(bytes(-self._at % 8))
        tables_at = self._at
        # Stable: what is due at the same instant leaves in the order in which it was added.
        self._packets.sort(key=lambda row: row[0])
        self._file.writelines(_PACKET.pack(*row) for row in self._packets)
        self._file.writelines(_ACK.pack(*ack) for s in self._streams for ack in s.acks)
        first_ack = 0
        for stream in self._streams:
            counts = (stream.packets, first_ack, len(stream.acks))
            self._file.write(_STREAM.pack(stream.viewer, stream.ssrc, stream.sequence, *counts))
            first_ack += len(stream.acks)
        self._file.writelines(_LEG.pack(fd) for fd in fds)
        counts4 = (len(fds), len(self._streams), len(self._packets), first_ack)
        self._file.seek(0)
        self._file.write(_HEADER.pack(_MAGIC, tables_at, *counts4, backlog, server, patience_ns))
        self._file.flush()
