"""Helpers for tests that run in one process: a customer with keys and calls, the API, a node, workers, set clocks."""
