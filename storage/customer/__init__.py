"""The assembly of one customer's storage, and the registry of all customers of a node."""
