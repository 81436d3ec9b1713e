"""Encrypted part files: the container format, writing, reading, and repair after a crash."""
