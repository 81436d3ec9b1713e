"""The process around everything: disk thread, tasks, clock, systemd, TLS files, sandbox."""
