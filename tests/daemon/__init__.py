"""Helpers of tests that start processes: a real daemon on loopback, its clients and databases, and faults around it."""
