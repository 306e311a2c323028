"""Alembic's entry: run the migrations on the connection that `engine.store.migrate` hands over."""

from alembic import context

from engine.store.market_tables import metadata
from engine.store.migrate import compare_options

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    # The caller's transaction spans all migrations: all of them apply or none does.
    transactional_ddl=True,
    transaction_per_migration=False,
    # SQLite alters a table by copying it.
    render_as_batch=connection.dialect.name == "sqlite",
    **compare_options(connection),
)
context.run_migrations()
