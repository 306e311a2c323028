"""Who acts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Actor:
    """A user with the permissions of their roles, or a part of the system."""

    id: str
    permissions: frozenset[str] = frozenset()


SYSTEM = Actor("system")
"""Timers."""
