"""quarantine: sessions that could not be settled wait for staff and keep no expert from working"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_LIVE = "state IN ('connecting', 'in_progress')"
_QUARANTINED = sa.text("quarantined_at_ms IS NOT NULL")


def upgrade() -> None:
    op.add_column("sessions", sa.Column("quarantined_at_ms", sa.BigInteger(), nullable=True))
    op.add_column("sessions", sa.Column("trouble", sa.String(length=200), nullable=True))
    op.create_index(
        "ix_sessions_quarantined",
        "sessions",
        ["quarantined_at_ms"],
        sqlite_where=_QUARANTINED,
        postgresql_where=_QUARANTINED,
    )
    op.drop_index("uq_sessions_live_expert", "sessions")
    _create_live_index(f"{_LIVE} AND quarantined_at_ms IS NULL")


def downgrade() -> None:
    op.drop_index("uq_sessions_live_expert", "sessions")
    op.drop_index("ix_sessions_quarantined", "sessions")
    with op.batch_alter_table("sessions") as batch:
        batch.drop_column("trouble")
        batch.drop_column("quarantined_at_ms")
    _create_live_index(_LIVE)


def _create_live_index(where: str) -> None:
    op.create_index(
        "uq_sessions_live_expert",
        "sessions",
        ["expert_id"],
        unique=True,
        sqlite_where=sa.text(where),
        postgresql_where=sa.text(where),
    )
