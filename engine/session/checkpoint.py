"""What survives a crash: one statement for all sessions of the node, every two seconds.

Captures are written when they happen. What a checkpoint adds is the last evidence of service, and a
sign of life: a session whose checkpoints stopped belongs to nobody. All of them go as one parameter
in JSON: a statement that grew with them would have to be put together anew each time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec
import sqlalchemy as sa

from engine.session.runtime import Runtime
from engine.store.database import Tx

_SEEN: Final = {
    "sqlite": """
        SELECT json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS epoch,
               json_extract(value, '$[2]') AS served_ns
        FROM json_each(:sessions)""",
    "postgresql": """
        SELECT value ->> 0 AS id, CAST(value ->> 1 AS integer) AS epoch,
               CAST(value ->> 2 AS bigint) AS served_ns
        FROM json_array_elements(CAST(:sessions AS json)) AS each(value)""",
}

# Evidence never shrinks: on PostgreSQL a capture may be written while this statement waits. And it
# is evidence of nothing while the start of the clock is still to be written.
_UPDATE: Final = """
    UPDATE sessions
    SET checkpoint_at_ms = :now_ms,
        served_ns = CASE WHEN seen.served_ns > sessions.served_ns AND sessions.ordinal IS NOT NULL
                         THEN seen.served_ns ELSE sessions.served_ns END
    FROM ({seen}) AS seen
    WHERE sessions.id = seen.id AND sessions.epoch = seen.epoch AND sessions.owner = :node_id
"""

_LOST: Final = """
    SELECT sessions.id FROM ({seen}) AS seen JOIN sessions ON sessions.id = seen.id
    WHERE sessions.epoch <> seen.epoch OR sessions.owner <> :node_id
"""


def _statements(template: str) -> dict[str, sa.TextClause]:
    return {dialect: sa.text(template.format(seen=seen)) for dialect, seen in _SEEN.items()}


_UPDATES: Final = _statements(_UPDATE)
_LOSSES: Final = _statements(_LOST)


async def write(
    tx: Tx, sessions: Iterable[Runtime], *, node_id: str, now_ns: int, now_ms: int
) -> list[Runtime]:
    """Note how far each session was served. Those whose epoch moved on are left alone, and
    answered: somebody else goes on with them.
    """
    written = list(sessions)
    rows = [_seen(rt, now_ns) for rt in written]
    values = {"sessions": msgspec.json.encode(rows).decode(), "node_id": node_id}
    dialect = tx.dialect.name
    result = await tx.execute(_UPDATES[dialect], values | {"now_ms": now_ms})
    if result.rowcount == len(written):
        return []
    # One that is missing altogether has not rung yet.
    lost = set((await tx.execute(_LOSSES[dialect], values)).scalars())
    return [rt for rt in written if rt.id in lost]


def _seen(rt: Runtime, now_ns: int) -> tuple[str, int, int]:
    return rt.id, rt.epoch, rt.proven_ns(now_ns)
