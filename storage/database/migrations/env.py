"""Alembic's environment, which runs migrations on the connection that it was given, in its transaction."""

from alembic import context

from storage.database import schema

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=schema.metadata, render_as_batch=True)
context.run_migrations()
