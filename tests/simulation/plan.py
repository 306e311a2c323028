"""What a seed stands for: how many processes, which faults, and the rhythm of the engine."""

from __future__ import annotations

import random
from dataclasses import dataclass

FAULTS = (
    "requests_lost",  # a client's request or its answer never arrives
    "requests_late",
    "requests_twice",
    "acks_lost",  # acknowledgements of media
    "acks_late",  # and out of order
    "acks_twice",
    "media_gaps",
    "sockets_lost",
    "late_timers",
    "store_slow",
    "store_down",
    "store_cut_off",  # for one node only: the others take over what it runs
    "statement_fails",
    "commit_unknown",
    "kill",
    "kill_within",  # at a statement
    "drain",
    "freeze",
    "twin",  # frozen, thought dead and started a second time under its name
    "wall_steps",
    "staff",
)

STORE_FAULTS = {"store_slow", "store_down", "store_cut_off", "statement_fails", "commit_unknown"}
NODE_FAULTS = {"kill", "kill_within", "drain", "freeze", "twin"}


@dataclass(frozen=True)
class Plan:
    seed: int
    nodes: int
    faults: frozenset[str]
    checkpoint_every_s: float
    stale_after_s: float
    resume_within_s: float
    """A session of a dead process that gave no sign of life for longer is settled at once."""
    customers: int
    experts: int
    couples: int
    modes: tuple[str, ...]
    """What is ordered."""
    poor: bool
    """Customers who live from hand to mouth, and pay as they go."""
    every_s: float
    """How long nothing new goes wrong, on average."""

    def has(self, fault: str) -> bool:
        return fault in self.faults

    def has_any(self, faults: set[str]) -> bool:
        return not self.faults.isdisjoint(faults)

    def __str__(self) -> str:
        faults = " ".join(fault for fault in FAULTS if fault in self.faults) or "none"
        return f"{self.nodes} nodes, {self.couples} couples, faults: {faults}"


_DAYS = (
    (),  # a calm one
    ("store_slow", "late_timers", "requests_twice"),
    ("twin", "freeze", "sockets_lost"),
    ("kill", "kill_within", "acks_late"),
    ("commit_unknown", "statement_fails"),
    ("wall_steps", "media_gaps", "requests_late"),
)
"""The first of every eight seeds look at one kind of fault each."""


def plan(seed: int) -> Plan:
    """Of every eight seeds one is a calm day, five have their theme, and the others get each fault
    with a chance of their own. Every other day of a slow store is one of chats only: few messages
    meet the instant at which the money is used up.
    """
    dice = random.Random(f"plan {seed}")
    share = dice.choice([0.15, 0.4, 0.7])
    mixed = [fault for fault in FAULTS if dice.random() < share]
    themed = seed % 8 < len(_DAYS)
    nodes = dice.choice([1, 2, 2, 3])
    resume_within_s = random.Random(f"resume {seed}").choice([600, 600, 3, 0.5])
    return Plan(
        seed=seed,
        nodes=1 if seed % 8 == 1 or seed % 16 in {0, 5} else max(nodes, 2 - seed % 8),
        faults=frozenset(_DAYS[seed % 8] if themed else mixed),
        checkpoint_every_s=dice.choice([1, 2, 2, 3]),
        stale_after_s=10,
        resume_within_s=resume_within_s,
        customers=2,
        experts=4,
        couples=dice.choice([4, 6]),
        modes=("text",) if seed % 16 == 9 else ("video", "audio", "text"),
        poor=seed % 8 < 2,
        every_s=12 if themed else 40,
    )
