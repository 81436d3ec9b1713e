"""Live calls in the daemon: admission, execution of commands, finishing, resuming, replacing."""
