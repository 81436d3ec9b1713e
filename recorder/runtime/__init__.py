"""What the process needs from its surroundings: disk thread, tasks, clock, systemd, TLS files, sandbox."""
