"""The HTTP server: TLS, connections and their limits, on uvicorn."""
