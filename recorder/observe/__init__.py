"""Logs with personal data masked, metrics, incidents and load history."""
