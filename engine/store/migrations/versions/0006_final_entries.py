"""final entries: what the ledger has posted is never changed and never deleted, whoever tries"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_FINAL = ("transfers", "entries")


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for table in _FINAL:
            for what in ("update", "delete"):
                op.execute(
                    f"CREATE TRIGGER {table}_final_{what} BEFORE {what} ON {table} "
                    f"BEGIN SELECT RAISE(ABORT, '{table} are final'); END"
                )
        return
    op.execute(
        "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION '% are final', TG_TABLE_NAME; END $$"
    )
    for table in _FINAL:
        op.execute(
            f"CREATE TRIGGER {table}_final BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for table in _FINAL:
            for what in ("update", "delete"):
                op.execute(f"DROP TRIGGER {table}_final_{what}")
        return
    for table in _FINAL:
        op.execute(f"DROP TRIGGER {table}_final ON {table}")
    op.execute("DROP FUNCTION refuse_change()")
