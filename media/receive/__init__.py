"""Sockets and ports for media, and the shared region into which packets are received."""
