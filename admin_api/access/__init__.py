"""Accounts that may sign in to the page, and the interface to the daemon for signing in."""
