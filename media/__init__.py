"""Media of calls: receive, authenticate, decrypt, order and store them, and export what was stored."""
