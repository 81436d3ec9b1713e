"""Who may act on a customer's recordings: accounts, API tokens, and the identities they stand for."""
