"""What relaying one packet costs the Python media worker: CPU and added delay.

The worker runs in a process of its own on uvloop; this process is the publisher and the viewer. The
packets are protected in advance, so what is paced and timed here is sending and receiving only. Run
`python -m loadtests.bench.media_relay`.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import select
import statistics
import struct
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from engine.media import codecs, rtcp
from loadtests.bench.media_client import MediaClient
from loadtests.bench.media_floor import BarePeer, run_floor

PACKET_BYTES = 1200
RATES_PPS = (2_000, 10_000)
SECONDS = 4.0
_HEADER = struct.Struct("!BBHII")
_SSRC = 0x1234ABCD
# A VP8 payload that begins a key frame, then the middle of frames (RFC 7741 section 4.2).
_KEY, _MIDDLE = b"\x10\x00", b"\x00\x01"


def run_worker(control: Connection) -> None:
    """The worker's process: one session, then answers with its CPU time until told to end."""
    import uvloop

    uvloop.run(_serve(control))


async def _serve(control: Connection) -> None:
    from engine.media.interface import Role
    from engine.media.worker import PythonWorker, WorkerConfig

    worker = PythonWorker(WorkerConfig())
    await worker.start()
    worker.add_session("bench", one_way=False, video=True)
    legs = [worker.add_leg("bench", role) for role in (Role.CUSTOMER, Role.EXPERT)]
    control.send([await worker.offer(leg) for leg in legs])
    commands: asyncio.Queue[Any] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    loop.add_reader(control.fileno(), lambda: commands.put_nowait(control.recv()))
    for leg, sdp in zip(legs, await commands.get(), strict=True):
        await worker.answer(leg, sdp)
    control.send("answered")
    await commands.get()
    worker.open_gate("bench")
    control.send("open")
    while await commands.get() == "cpu":
        control.send(time.process_time())
    loop.remove_reader(control.fileno())
    await worker.stop()


def _packets(tx: Any, count: int, first: int) -> list[bytes]:
    fill = bytes(PACKET_BYTES - 16 - 12 - 2)  # the size on the wire includes the 16-byte tag
    second = codecs.VP8.payload_type
    packets = []
    for index in range(first, first + count):
        head = _HEADER.pack(0x80, second, index & 0xFFFF, index // 10 * 900 & 0xFFFFFFFF, _SSRC)
        packets.append(tx.protect(head + (_KEY if index == 0 else _MIDDLE) + fill))
    return packets


def _report(client: MediaClient, highest: int) -> bytes:
    block = rtcp.ReportBlock(client.remote_ssrc("video"), 0, 0, highest, 0, 0, 0)
    return bytes(client.tx.protect_rtcp(rtcp.build_rr(1, [block])))


def _drive(
    publisher: MediaClient, viewer: MediaClient, packets: list[bytes], rate_pps: int
) -> tuple[list[int], list[tuple[int, int]], float]:
    """Send at `rate_pps`; returns instants of sending, (sequence, instant) received, seconds."""
    sent: list[int] = []
    received: list[tuple[int, int]] = []
    poll = select.poll()
    poll.register(viewer.sock, select.POLLIN)
    began = time.monotonic_ns()
    interval_ns = 1_000_000_000 // rate_pps
    next_report_ns = began
    while len(sent) < len(packets):
        now = time.monotonic_ns()
        while len(sent) < len(packets) and began + len(sent) * interval_ns <= now:
            sent.append(time.monotonic_ns())
            publisher.sock.send(packets[len(sent) - 1])
        _collect(viewer, received)
        if now >= next_report_ns and received:
            viewer.sock.send(_report(viewer, received[-1][0]))
            viewer.sock.send(viewer.check())
            next_report_ns = now + 500_000_000
        due = began + len(sent) * interval_ns - time.monotonic_ns()
        if due > 0:
            poll.poll(due // 1_000_000)
    elapsed_s = (time.monotonic_ns() - began) / 1e9
    deadline = time.monotonic() + 0.3
    while len(received) < len(sent) and time.monotonic() < deadline:
        poll.poll(10)
        _collect(viewer, received)
    return sent, received, elapsed_s


def _collect(viewer: MediaClient, received: list[tuple[int, int]]) -> None:
    while True:
        try:
            data = viewer.sock.recv(2048)
        except BlockingIOError:
            return
        if 128 <= data[0] < 192 and not 192 <= data[1] < 224:
            received.append((data[2] << 8 | data[3], time.monotonic_ns()))


def _delays_us(
    sent: list[int], received: list[tuple[int, int]], first_in: int, offset: int
) -> list[float]:
    delays = []
    for sequence, at in received:
        index = (sequence - offset - first_in) & 0xFFFF
        if index < len(sent):
            delays.append((at - sent[index]) / 1e3)
    return delays


async def _connect(control: Connection) -> tuple[MediaClient, MediaClient]:
    viewer, publisher = (MediaClient(offer) for offer in control.recv())
    control.send([viewer.answer(), publisher.answer()])
    control.recv()
    await viewer.connect()
    await publisher.connect()
    control.send("open")
    control.recv()
    return viewer, publisher


def _cpu_s(control: Connection) -> float:
    control.send("cpu")
    return float(control.recv())


def _measure(
    control: Connection, publisher: MediaClient, viewer: MediaClient, seconds: float
) -> list[dict[str, float]]:
    rows = []
    first, offset = 0, 0
    for rate_pps in RATES_PPS:
        packets = _packets(publisher.tx, min(int(rate_pps * seconds), 60_000), first)
        cpu_before_s = _cpu_s(control)
        sent, received, elapsed_s = _drive(publisher, viewer, packets, rate_pps)
        cpu_s = _cpu_s(control) - cpu_before_s
        if not first:
            offset = received[0][0]
        delays = sorted(_delays_us(sent, received, first, offset))
        rows.append(
            {
                "rate_pps": round(len(sent) / elapsed_s),
                "cpu_us_per_packet": round(cpu_s * 1e6 / len(received), 2),
                "delay_p50_us": round(statistics.median(delays), 1),
                "delay_p99_us": round(delays[int(len(delays) * 0.99)], 1),
                "lost": len(sent) - len(received),
            }
        )
        first += len(packets)
    return rows


def _in_process(
    target: Callable[[Connection], None], drive: Callable[[Connection], list[dict[str, float]]]
) -> list[dict[str, float]]:
    """`drive` against `target` in a process of its own, which is gone afterwards."""
    context = multiprocessing.get_context("spawn")
    control, far_end = context.Pipe()
    process = context.Process(target=target, args=(far_end,))
    process.start()
    try:
        rows = drive(control)
        control.send("end")
    finally:
        process.join(5)
        if process.is_alive():
            process.kill()
            process.join()
    return rows


def run(seconds: float = SECONDS) -> dict[str, object]:
    """One measurement: a row per rate with CPU microseconds per forwarded packet and delays.

    `floor` is the same for a loop that only receives, decrypts, encrypts and sends: what is left
    is the price of the relay's own work, whatever the machine's mood.
    """

    def worker(control: Connection) -> list[dict[str, float]]:
        viewer, publisher = asyncio.run(_connect(control))
        with viewer.sock, publisher.sock:
            return _measure(control, publisher, viewer, seconds)

    def floor(control: Connection) -> list[dict[str, float]]:
        viewer, publisher = BarePeer(control.recv()), BarePeer(control.recv())
        control.send((viewer.address, publisher.address))
        control.recv()
        with viewer.sock, publisher.sock:
            return _measure(control, publisher, viewer, seconds)  # type: ignore[arg-type]

    return {
        "bench": "media_relay",
        "worker": "python",
        "packet_bytes": PACKET_BYTES,
        "rows": _in_process(run_worker, worker),
        "floor": _in_process(run_floor, floor),
    }


def main() -> int:
    result = run()
    print(f"{'':8} {'packets/s':>10} {'CPU us/packet':>14} {'p50 us':>8} {'p99 us':>9} {'lost':>6}")
    for name in ("rows", "floor"):
        rows = result[name]
        assert isinstance(rows, list)
        for row in rows:
            print(
                f"{'worker' if name == 'rows' else 'floor':8} {row['rate_pps']:>10} "
                f"{row['cpu_us_per_packet']:>14} {row['delay_p50_us']:>8} "
                f"{row['delay_p99_us']:>9} {row['lost']:>6}"
            )
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
