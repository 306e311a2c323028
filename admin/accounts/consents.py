"""Which legal texts a user agreed to, in which version, and when."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from engine.errors import BadInput
from engine.store.database import Tx, insert_once
from engine.store.market_tables import consents as table


def check(documents: Mapping[str, str], given: Mapping[str, str]) -> Mapping[str, str]:
    """Only present versions of known documents. Raises `BadInput("unknown_document")`."""
    for document, version in given.items():
        if documents.get(document) != version:
            raise BadInput(
                "unknown_document",
                "There is no such document in this version.",
                path="$.consents",
                documents=dict(documents),
            )
    return given


def check_all(documents: Mapping[str, str], given: Mapping[str, str]) -> Mapping[str, str]:
    """As `check`, and every document. Raises `BadInput("consent_missing")`."""
    if missing := sorted(documents.keys() - check(documents, given).keys()):
        raise BadInput(
            "consent_missing",
            f"Agree to {', '.join(missing)} first.",
            path="$.consents",
            documents={name: documents[name] for name in missing},
        )
    return given


async def give(tx: Tx, user_id: str, given: Mapping[str, str], now_ms: int) -> None:
    """Once given, a consent keeps its instant."""
    for document, version in given.items():
        row = {"user_id": user_id, "document": document, "version": version, "at_ms": now_ms}
        await insert_once(tx, table, row)


async def due(tx: Tx, user_id: str, documents: Mapping[str, str]) -> dict[str, str]:
    """What the user has not agreed to in its present version."""
    query = sa.select(table.c.document, table.c.version).where(table.c.user_id == user_id)
    given = {(row.document, row.version) for row in await tx.execute(query)}
    return {name: version for name, version in documents.items() if (name, version) not in given}
