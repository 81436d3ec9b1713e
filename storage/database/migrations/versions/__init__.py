"""One file a schema version, in order; never changed once released."""
