"""The configuration: its model, how it is read, checked and documented."""
