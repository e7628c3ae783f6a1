"""Run by Alembic: migrates the connection that `migrate.upgrade` hands over, in its transaction."""

from __future__ import annotations

from alembic import context

from dragoman.stores.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite can roll a schema change back; Alembic has to be told.
    transactional_ddl=True,
    # SQLite cannot alter most things of a table: it is copied instead.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
