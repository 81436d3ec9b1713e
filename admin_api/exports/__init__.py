"""Exports over HTTP: jobs, files, column sets and spreadsheets."""
