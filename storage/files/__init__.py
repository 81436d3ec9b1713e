"""Files that survive a crash: durable writes, append-only logs, reserved disk space."""
