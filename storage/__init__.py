"""Store recordings so that they can be found, verified and erased: vault, keys, database, retention, audit."""
