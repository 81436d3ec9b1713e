"""Jobs that run beside the calls: retention, audit, directory, purge, verification, key rotation."""
