"""The world of processes: a real daemon on loopback, its clients and databases, and what goes wrong around it."""
