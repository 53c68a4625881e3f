"""Runs migrations on the connection that database.py hands over; there is no offline mode."""

from alembic import context

from inksight.registry.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite cannot alter a table in place
)
with context.begin_transaction():
    context.run_migrations()
