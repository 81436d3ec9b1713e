"""Live calls in the daemon: admission, carrying out commands, ending, resuming, replacing."""
