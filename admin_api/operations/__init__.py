"""What operators see over HTTP: the audit log, incidents and the state of the system."""
