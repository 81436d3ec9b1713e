"""Users over HTTP: search, import and changes."""
