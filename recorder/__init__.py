"""The daemon: configuration, wiring, life cycle, media workers, command line, logs and redaction."""
