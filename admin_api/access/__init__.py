"""Accounts that may sign in to the page, and what the page needs of the daemon for that."""
