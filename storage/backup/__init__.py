"""Backup of the data directory without its keys while the recorder runs, and restore."""
