"""The daemon: start, order of start-up, background services and shutdown."""
