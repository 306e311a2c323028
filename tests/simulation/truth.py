"""What really happened, as the simulation saw it; the engine's own records are no part of it.

Instants are nanoseconds of the loop, which no process of the simulation can see.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from engine.media.interface import Role
from engine.metering.policy import Policy
from engine.metering.tariff import Tariff
from tests.simulation import naive


@dataclass
class Order:
    id: str
    customer: str
    expert: str
    mode: str
    tariff: Tariff
    policy: Policy
    refunded: int = 0
    """What staff gave back of it; the sessions' own reversals are no part of that."""


@dataclass
class Message:
    """One attempt to send; `stored` if the sender was told so and it was no repetition."""

    at_ns: int
    role: Role
    client_id: str
    run: Any
    stored: bool = False


@dataclass
class Run:
    """A session on one incarnation of a node: the first, or one that took it over."""

    node: Any
    began_ns: int
    metered: bool = False
    """Its clock had started in an earlier run, which proved `base_ns` of service."""
    base_ns: int = 0
    lost_ns: int | None = None
    """When another node had taken it over."""
    noted_ns: int = 0
    """When its last transaction began that noted how much was served."""
    frames: list[tuple[int, int]] = field(default_factory=list)
    """(heard by the engine, sent): acknowledged ones, the first of them starts a media clock."""
    ends: list[tuple[int, str]] = field(default_factory=list)
    """When somebody's wish to end it arrived, and whose it was."""
    sockets: list[tuple[int, str, bool]] = field(default_factory=list)
    """A party's first device came, or its last one went."""
    devices: dict[Role, set[str]] = field(default_factory=lambda: {role: set() for role in Role})

    def come(self, role: Role, device: str, at_ns: int) -> None:
        if not self.devices[role]:
            self.sockets.append((at_ns, role.value, True))
        self.devices[role].add(device)

    def go(self, role: Role, device: str, at_ns: int) -> None:
        if device in self.devices[role]:
            self.devices[role].discard(device)
            if not self.devices[role]:
                self.sockets.append((at_ns, role.value, False))

    def service(self, text: bool, start_ns: int | None, until_ns: int) -> tuple[int, int, int]:
        """(proven, elapsed, last frame) of the whole session at an instant of this run.

        `start_ns`: when its clock started, if it started in this run.
        """
        if not self.metered and start_ns is None:
            return 0, 0, until_ns
        if text:
            elapsed = naive.text(
                start_ns or self.began_ns, self.sockets, self.node.standstills, until_ns
            )
            return self.base_ns + elapsed, self.base_ns + elapsed, until_ns
        heard = [frame for frame in self.frames if frame[0] <= until_ns]
        if not heard:
            return self.base_ns, self.base_ns, self.began_ns
        proven, elapsed, last_ns = naive.media(heard[0][1], heard[1:], until_ns)
        return self.base_ns + proven, self.base_ns + elapsed, last_ns


@dataclass
class Talk:
    """One session, from its first ring to its end, on however many nodes."""

    id: str
    order: Order
    rung_ns: int
    runs: list[Run]
    answered_ns: int | None = None
    messages: list[Message] = field(default_factory=list)
    transfers_before: int = 0
    """How many transfers there were when it was answered."""
    over: bool = False
    """A client was told."""

    @property
    def text(self) -> bool:
        return self.order.mode == "text"

    @property
    def run(self) -> Run:
        return self.runs[-1]
