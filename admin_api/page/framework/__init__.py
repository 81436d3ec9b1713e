"""What every view of the page shares: requests to the API, templates, translations, forms, sessions."""
