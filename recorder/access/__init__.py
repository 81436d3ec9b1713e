"""Who signs in to the page, and what the admin API asks of the daemon."""
