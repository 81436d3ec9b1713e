"""Schema changes, run by storage.database.migrate."""
