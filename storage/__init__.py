"""Keep recordings so that they can be found, proven and forgotten: vault, keys, database, retention, audit."""
