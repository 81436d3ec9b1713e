"""The recorder's HTTP API and admin page, with their permissions and answers."""
