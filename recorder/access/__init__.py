"""Who signs in to the page, and the daemon behind the admin API."""
