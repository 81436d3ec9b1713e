"""Media workers: the pool, the messages between them and main, and the worker process itself."""
