"""The daemon: settings, wiring, life cycle, workers, command line, logs and masking."""
