"""The `recorder` command: one file a group of commands."""
