"""The recorder's HTTP API and page: who may do what, and every answer."""
