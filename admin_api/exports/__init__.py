"""Exports over HTTP: jobs, files and column sets."""
