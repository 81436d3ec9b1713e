"""What operators look at over HTTP: the audit log, incidents and the state of the system."""
