"""The record format in which received media are stored, and its commit slots; pure."""
