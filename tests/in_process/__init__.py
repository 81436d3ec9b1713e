"""Helpers of tests that need one process: a customer with keys and calls, the API, a node, workers; tests set the clocks."""
