"""Backups of the data directory without its keys, made while the recorder runs, and their restoring."""
