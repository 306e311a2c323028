"""What the scripts saw, written where neither SIGKILL nor the engine can change it.

One line of JSON a fact, in one file per process, each written by one `write` and so never in part.
Instants are `time.monotonic_ns`, which all processes of a machine share.
"""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

PAUSE_NS = 3_000_000_000
"""A gap between acknowledged frames of this length is not service."""


def path_of(directory: Path, node: str, run: int) -> Path:
    return directory / f"evidence-{run:05}-{node}.jsonl"


class Notebook:
    """Appends facts; `node` and `run` name the process."""

    def __init__(self, directory: Path, node: str, run: int) -> None:
        self._fd = os.open(
            path_of(directory, node, run), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644
        )
        self._own = {"node": node, "run": run}

    def note(self, fact: str, **members: object) -> None:
        line = {"fact": fact, "at_ns": time.monotonic_ns(), **self._own, **members}
        os.write(self._fd, json.dumps(line).encode() + b"\n")


def read(directory: Path) -> Iterator[dict[str, Any]]:
    """Every fact of every process, in the order of each."""
    for path in sorted(directory.glob("evidence-*.jsonl")):
        for line in path.read_bytes().splitlines():
            yield json.loads(line)


@dataclass
class Life:
    """When a process ran: until it died, but for the times at which it was frozen."""

    died_ns: int | None = None
    frozen: list[tuple[int, int]] = field(default_factory=list)

    def last_running_ns(self, before_ns: int) -> int:
        """The last instant up to then at which it can have done anything."""
        instant = before_ns if self.died_ns is None else min(before_ns, self.died_ns)
        for since_ns, until_ns in self.frozen:
            if since_ns <= instant < until_ns:
                return since_ns
        return instant


@dataclass
class Stint:
    """What one process noted of a session, until the process could serve it no more."""

    node: str
    run: int
    facts: list[dict[str, Any]] = field(default_factory=list)

    def served_at_most_ns(self, end_ns: int, *, media: bool, spent: bool = False) -> int:
        """The longest service that can have taken place here until then.

        `spent`: its money ran out, maybe before then and in the middle of a silence that only a
        later frame proves to have been a standstill.
        """
        if not media:
            return _text_ns(self.facts, end_ns)
        ends_ns = [fact["frame_ns"] - 1 for fact in self.facts if spent and fact["fact"] == "frame"]
        earlier = (_media_ns(self.facts, at_ns) for at_ns in ends_ns if at_ns < end_ns)
        return max([_media_ns(self.facts, end_ns), *earlier])


@dataclass
class Witness:
    """All facts about one session; after a restart it may have gone on in another process."""

    session_id: str
    stints: list[Stint] = field(default_factory=list)

    @property
    def facts(self) -> list[dict[str, Any]]:
        return [fact for stint in self.stints for fact in stint.facts]

    def at(self, fact: str) -> int | None:
        """When it was noted first."""
        return next((one["at_ns"] for one in self.facts if one["fact"] == fact), None)

    def noted(self, fact: str) -> bool:
        return self.at(fact) is not None

    def served_at_least_ns(self, *, media: bool) -> int:
        """What must have been served when a script hung up; 0 where that cannot be told."""
        since_ns, until_ns = self.at("clock_told"), self.at("ending")
        interrupted = len(self.stints) != 1 or self.noted("away")
        if since_ns is None or until_ns is None or interrupted:
            return 0
        return _media_ns(self.facts, 0) if media else max(0, until_ns - since_ns)


def _text_ns(facts: list[dict[str, Any]], end_ns: int) -> int:
    """From the counted message on, but for the time at which a party was known to be away.

    Who comes back to a session that was taken over may start its clock by that.
    """
    served_ns, since_ns = 0, None
    for fact in facts:
        match fact["fact"]:
            case "counting" | "back" if since_ns is None:
                since_ns = fact["at_ns"]
            case "away" if since_ns is not None:
                served_ns += max(0, min(fact["at_ns"], end_ns) - since_ns)
                since_ns = None
    return served_ns + (max(0, end_ns - since_ns) if since_ns is not None else 0)


def _media_ns(facts: list[dict[str, Any]], end_ns: int) -> int:
    """Gaps of less than three seconds between acknowledged frames, and so long at the end."""
    frames = [fact["frame_ns"] for fact in facts if fact["fact"] == "frame"]
    frames = [frame_ns for frame_ns in frames if end_ns == 0 or frame_ns <= end_ns]
    if not frames:
        return 0
    gaps = [later - earlier for earlier, later in pairwise(frames)]
    served_ns = sum(gap for gap in gaps if gap < PAUSE_NS)
    return served_ns + min(PAUSE_NS, max(0, end_ns - frames[-1]))


def witnesses(directory: Path) -> dict[str, Witness]:
    """The witness of each session that a script began."""
    found: dict[str, Witness] = {}
    for fact in read(directory):
        session_id = fact.get("session")
        if session_id is None:
            continue
        witness = found.setdefault(session_id, Witness(session_id))
        if not witness.stints or witness.stints[-1].run != fact["run"]:
            witness.stints.append(Stint(fact["node"], fact["run"]))
        witness.stints[-1].facts.append(fact)
    for witness in found.values():
        witness.stints.sort(key=lambda stint: stint.facts[0]["at_ns"])
    return found


def by_kind(directory: Path) -> dict[str, list[dict[str, Any]]]:
    """Facts that belong to no session."""
    kinds: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for fact in read(directory):
        if "session" not in fact:
            kinds[fact["fact"]].append(fact)
    return kinds
