"""What customers see of an expert's availability (T13 to T16, T47)."""

from __future__ import annotations

from dataclasses import dataclass

from admin.ports import AdminDeps


@dataclass(frozen=True)
class Availability:
    """`status` is the effective one: what was chosen, corrected by sockets and live sessions."""

    online: bool
    status: str
    callable: bool


def availability(deps: AdminDeps, expert_id: str, chosen_status: str) -> Availability:
    """Without a socket nobody is there; in a live session everybody is busy."""
    online = deps.presence.is_online(expert_id)
    if not online:
        status = "undefined"
    elif deps.sessions.in_live_session(expert_id):
        status = "busy"
    else:
        status = chosen_status
    rings = deps.settings.policy.ring(status) != "refuse"
    return Availability(online, status, online and rings)
