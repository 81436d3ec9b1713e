"""Media worker processes: their pool, the messages between them and the daemon, and their work."""
