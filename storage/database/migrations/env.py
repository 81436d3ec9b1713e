"""Tell alembic what to migrate: the connection it was given, in the transaction it is in."""

from alembic import context

from storage.database import schema

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=schema.metadata, render_as_batch=True)
context.run_migrations()
