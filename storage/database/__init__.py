"""Connections, schema and migrations, on SQLite and PostgreSQL."""
