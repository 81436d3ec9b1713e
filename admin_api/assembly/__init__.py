"""The ASGI application assembled from its routes, the OpenAPI document, and health checks."""
