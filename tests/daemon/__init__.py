"""Helpers for tests that start processes: a real daemon on loopback, its clients and databases, and injected faults."""
