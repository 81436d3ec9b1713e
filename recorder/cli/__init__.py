"""The `recorder` command: one file for each group of commands."""
